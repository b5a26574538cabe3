"""`python -m capjax.studies`: what is fitted once and kept, a sub-command a study."""

import argparse
import sys
from collections.abc import Sequence

from capjax.evaluate.hallucination import command as doubt
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.studies",
        description="Fits what studies keep with a model, and applies it.",
    )
    studies = parser.add_subparsers(required=True)
    doubt.add_parser(studies)
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{options.command(options)}\n")
    except (ValueError, OSError, ImportError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
