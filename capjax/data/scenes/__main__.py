"""Writes scenes into a folder: `python -m capjax.data.scenes --out DIR --n 64 --split val`."""

import sys

from capjax.data.scenes.still import main
from capjax.runtime.standard_streams import outlive_readers

if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
