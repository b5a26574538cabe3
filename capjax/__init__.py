"""capjax: explainable image and video captioning in JAX.

    import capjax

    captioner = capjax.load("scenes-soft")
    capjax.explain(captioner, "photograph.jpg")      # draws itself in a notebook

Names are imported when they are first used, so that `import capjax` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from capjax.runtime.wrong_sums import avoid_wrong_sums

avoid_wrong_sums()

if TYPE_CHECKING:
    from capjax.api import caption, counterfactual, explain, load
    from capjax.captioner import Captioner
    from capjax.decoding import Beam, Greedy, HuggingFaceBeam, Sample
    from capjax.folder.opened.image import ImageResult
    from capjax.folder.opened.results import Results, open_results
    from capjax.types import Caption, Explanation, Features, Geometry, Preprocessing
    from capjax.viz.explained_images import ExplainedImage, ExplainedImages

_HOMES = {
    "load": "capjax.api",
    "caption": "capjax.api",
    "counterfactual": "capjax.api",
    "explain": "capjax.api",
    "ExplainedImage": "capjax.viz.explained_images",
    "ExplainedImages": "capjax.viz.explained_images",
    "Captioner": "capjax.captioner",
    "open_results": "capjax.folder.opened.results",
    "ImageResult": "capjax.folder.opened.image",
    "Results": "capjax.folder.opened.results",
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
    "ImageResult",
    "Preprocessing",
    "Results",
    "Sample",
    "caption",
    "counterfactual",
    "explain",
    "load",
    "open_results",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("capjax.runtime.version").code_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'capjax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, "__version__"})
