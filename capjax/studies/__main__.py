"""`python -m capjax.studies STUDY …`: studies that are more than a part of `explain.py`."""

import argparse
import sys
from collections.abc import Sequence

from capjax.folder.concepts import command as concepts
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers

WRONG_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m capjax.studies")
    commands = parser.add_subparsers(metavar="STUDY", required=True)
    concepts.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.call(options))
    except (ValueError, OSError, ImportError) as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return WRONG_USAGE


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
