"""`python -m capjax.evaluate.hallucination`: fits what tells which words not to believe."""

import argparse
import sys
from collections.abc import Sequence

from capjax.evaluate.hallucination.fitting import add_parser
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code: 0, or 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.evaluate.hallucination",
        description="Fits which words of a model's captions not to believe.",
    )
    add_parser(parser.add_subparsers(required=True))
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
