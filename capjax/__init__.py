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
    from capjax.api import caption, explain, load
    from capjax.captioner import Captioner
    from capjax.decoding import Beam, Greedy, HuggingFaceBeam, Sample
    from capjax.explained_images import ExplainedImage, ExplainedImages
    from capjax.types import Caption, Explanation, Features, Geometry, Preprocessing

_HOMES = {
    "load": "capjax.api",
    "caption": "capjax.api",
    "explain": "capjax.api",
    "ExplainedImage": "capjax.explained_images",
    "ExplainedImages": "capjax.explained_images",
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
        if name == "__version__":
            return importlib.import_module("capjax.version").code_version()
        if name not in _HOMES:
            raise AttributeError(f"module 'capjax' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        own = [name for name, value in self.__dict__.items() if _is_own(name, value)]
        return sorted({*own, *__all__, "__version__"})


def _is_own(name: str, value: Any) -> bool:
    """Whether a name is for people who look around: no import of this file, nothing private."""
    part = isinstance(value, ModuleType) and value.__name__.startswith(f"{__name__}.")
    return part or name.startswith("__")


sys.modules[__name__].__class__ = _Package
