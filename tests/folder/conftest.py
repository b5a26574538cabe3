"""The saved captioner and the folder of every kind of image file that the Python door has too."""

from tests.api.conftest import model, zoo

__all__ = ["model", "zoo"]
