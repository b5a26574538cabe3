"""The libraries that finding concepts needs."""

import importlib.util


def require() -> None:
    """Raises ValueError where a library is missing; the text names the extra."""
    needed = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
    missing = [name for module, name in needed.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ValueError(
            f'finding concepts needs {" and ".join(missing)}: pip install "capjax[concepts]"; to '
            "apply concepts that were found elsewhere nothing is missing"
        )
