"""Explains images: `python explain.py --model=DIR_OR_NAME --images=FOLDER --out=DIR`."""

import sys

from capjax.explain_folder import main

if __name__ == "__main__":
    sys.exit(main())
