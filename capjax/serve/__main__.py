"""`python -m capjax.serve`: a page and an API of captions and explanations."""

import argparse
import sys
from collections.abc import Sequence

from capjax.runtime.command_line import refuse_repeated
from capjax.runtime.process import keep_freed_memory, keep_programs
from capjax.runtime.standard_streams import outlive_readers
from capjax.serve import command

WRONG_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 1 when the port is taken, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m capjax.serve", description=command.DESCRIPTION)
    refuse_repeated(parser)
    command.add_options(parser.add_argument)
    try:
        return command.serve(parser.parse_args(arguments), _tell)
    except (ValueError, OSError, ImportError) as error:
        _tell(str(error))
        return WRONG_USAGE


def _tell(line: str) -> None:
    sys.stderr.write(f"capjax.serve: {line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    outlive_readers()
    keep_freed_memory()
    keep_programs()
    sys.exit(main())
