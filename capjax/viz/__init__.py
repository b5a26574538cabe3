"""Pictures of explanations. Names are imported when first used; only figures need matplotlib."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capjax.ops.upsample import upsample
    from capjax.viz.figures import plot_attention
    from capjax.viz.overlay import colour_bars, levels, paint
    from capjax.viz.strips import word_strip

_HOMES = {
    "colour_bars": "capjax.viz.overlay",
    "levels": "capjax.viz.overlay",
    "paint": "capjax.viz.overlay",
    "plot_attention": "capjax.viz.figures",
    "upsample": "capjax.ops.upsample",
    "word_strip": "capjax.viz.strips",
}

__all__ = ["colour_bars", "levels", "paint", "plot_attention", "upsample", "word_strip"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'capjax.viz' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
