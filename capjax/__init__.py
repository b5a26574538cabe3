"""capjax: explainable image and video captioning in JAX.

    import capjax

    captioner = capjax.load("scenes-soft")
    capjax.explain(captioner, "photograph.jpg")      # draws itself in a notebook

Names are imported when they are first used, so that `import capjax` costs nothing.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capjax.api import ExplainedImage, ExplainedImages, caption, explain, load
    from capjax.captioner import Captioner
    from capjax.decoding import Beam, Greedy, HuggingFaceBeam, Sample
    from capjax.types import Caption, Explanation, Features, Geometry, Preprocessing

_HOMES = {
    "load": "capjax.api",
    "caption": "capjax.api",
    "explain": "capjax.api",
    "ExplainedImage": "capjax.api",
    "ExplainedImages": "capjax.api",
    "Captioner": "capjax.captioner",
    "Beam": "capjax.decoding",
    "Greedy": "capjax.decoding",
    "HuggingFaceBeam": "capjax.decoding",
    "Sample": "capjax.decoding",
    "Caption": "capjax.types",
    "Explanation": "capjax.types",
    "Features": "capjax.types",
    "Geometry": "capjax.types",
    "Preprocessing": "capjax.types",
}

__all__ = [
    "Beam",
    "Caption",
    "Captioner",
    "ExplainedImage",
    "ExplainedImages",
    "Explanation",
    "Features",
    "Geometry",
    "Greedy",
    "HuggingFaceBeam",
    "Preprocessing",
    "Sample",
    "caption",
    "explain",
    "load",
]


class _Package(ModuleType):
    """Keeps `capjax.explain` the function: importing the package of that name, which holds the
    methods, would otherwise replace it. `from capjax.explain import METHODS` works as ever."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'capjax' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *__all__})


sys.modules[__name__].__class__ = _Package
