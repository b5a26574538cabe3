"""Pictures of explanations. Names are imported when first used; only figures need matplotlib."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capjax.ops.upsample import upsample
    from capjax.viz.animation import save_animation
    from capjax.viz.clips import OMITTED, plot_clip
    from capjax.viz.figures import plot_attention
    from capjax.viz.language.figure import plot_linguistic
    from capjax.viz.overlay import colour_bars, levels, paint
    from capjax.viz.paper import plot_caption, plot_queries
    from capjax.viz.representativeness import plot_representativeness
    from capjax.viz.strips import side_by_side, word_strip

_HOMES = {
    "OMITTED": "capjax.viz.clips",
    "colour_bars": "capjax.viz.overlay",
    "levels": "capjax.viz.overlay",
    "paint": "capjax.viz.overlay",
    "plot_attention": "capjax.viz.figures",
    "plot_caption": "capjax.viz.paper",
    "plot_clip": "capjax.viz.clips",
    "plot_linguistic": "capjax.viz.language.figure",
    "plot_queries": "capjax.viz.paper",
    "plot_representativeness": "capjax.viz.representativeness",
    "save_animation": "capjax.viz.animation",
    "side_by_side": "capjax.viz.strips",
    "upsample": "capjax.ops.upsample",
    "word_strip": "capjax.viz.strips",
}

__all__ = [
    "OMITTED",
    "colour_bars",
    "levels",
    "paint",
    "plot_attention",
    "plot_caption",
    "plot_clip",
    "plot_linguistic",
    "plot_queries",
    "plot_representativeness",
    "save_animation",
    "side_by_side",
    "upsample",
    "word_strip",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'capjax.viz' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
