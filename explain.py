"""Explains images, word by word, into a folder with a report.

    python explain.py --model=DIR_OR_NAME --images=FOLDER_OR_FILES --out=DIR
                      [--methods=attention,gradcam] [--query="a man on a horse"] …

Exit codes: 0 all explained; 1 the disk of --out is full, or it could not be written for another
reason (run the same command to go on); 2 wrong usage, or --out holds another run's results; 3 some
images could not be read, the others are explained. `--help` lists all options.
"""

import sys

from capjax.folder.run import main
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers

if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
