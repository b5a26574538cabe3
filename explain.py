"""Explains images, word by word, into a folder with a report.

    python explain.py --model=DIR_OR_NAME --images=FOLDER_OR_FILES --out=DIR
                      [--methods=attention,gradcam] [--query="a man on a horse"] …

Exit codes: 0 all explained; 2 wrong usage, or --out holds another run's results; 3 some images
could not be read, the others are explained. `--help` lists all options.
"""

import os
import pathlib
import sys

import jax

from capjax.explain_folder import main

if __name__ == "__main__":
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    jax.config.update(
        "jax_compilation_cache_dir", cache or str(pathlib.Path("~/.cache/capjax/xla").expanduser())
    )
    sys.exit(main())
