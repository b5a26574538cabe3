"""pyarrow, where it is installed, and texts as it takes them."""

from typing import Any


def import_pyarrow() -> Any:
    """The pyarrow package, or an ImportError that says how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "tables and Parquet need pyarrow; install it with: pip install 'capjax[parquet]'"
        ) from error
    return pyarrow


def unicode(text: str) -> str:
    """A text as tables hold it: bytes of file names that are no Unicode become `\\\\udcff`."""
    return text.encode(errors="backslashreplace").decode()
