"""`python -m capjax.audit`: answers about a whole corpus of explained images."""

import sys
from collections.abc import Sequence

from capjax.audit.command import audit
from capjax.audit.options import make_parser
from capjax.runtime.files import stopped_by_disk
from capjax.runtime.standard_streams import outlive_readers

STOPPED, WRONG_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 2 for wrong usage, 1 when the disk is full."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{audit(options)}\n")
    except (ValueError, OSError, ImportError) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else None
        if isinstance(error, FileNotFoundError):
            reason = None
        sys.stderr.write(f"{parser.prog}: {reason or error}\n")
        return STOPPED if reason else WRONG_USAGE
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
