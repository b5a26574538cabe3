"""`python -m capjax.inpaint`: pictures without what masks remove, and how well fills do that."""

import argparse
import sys
from collections.abc import Callable, Sequence

from capjax.evaluate.restoration import command as restoration
from capjax.folder.filling import command as filling
from capjax.folder.filling.choosing import add_fill_options, described_fills
from capjax.inpaint.fills.named import DEFAULT, FILLS
from capjax.runtime.command_line import Listing, refuse_repeated
from capjax.runtime.files import stopped_by_disk
from capjax.runtime.process import keep_freed_memory, keep_programs
from capjax.runtime.standard_streams import outlive_readers

STOPPED, WRONG_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    0: all is filled; 1: --out could not be written to the end; 2: wrong usage, or --out holds
    another run; 3: some pictures failed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["evaluate"]:
        return _run(_evaluate, _evaluating(), given[1:])
    return _run(filling.fill_folder, _filling(), given)


def _filling() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m capjax.inpaint",
        description="Fills what masks remove from every picture of a folder; as `python -m "
        "capjax.inpaint evaluate`, says how well fills do that.",
        epilog="exit codes: 0 all filled; 1 --out could not be written to the end; 2 wrong usage, "
        "or --out holds another run; 3 some pictures failed",
    )
    refuse_repeated(parser)
    filling.add_options(parser.add_argument)
    parser.add_argument(
        "--fill", choices=[*FILLS], default=DEFAULT, help=f"what fills holes (default {DEFAULT})"
    )
    add_fill_options(parser.add_argument)
    parser.add_argument(
        "--list-fills",
        action=Listing,
        described=described_fills,
        help="print fills, options, cost and source; exit",
    )
    return parser


def _evaluating() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m capjax.inpaint evaluate", description=restoration.DESCRIPTION
    )
    refuse_repeated(parser)
    restoration.add_options(parser.add_argument)
    parser.add_argument(
        "--fills",
        default="all",
        help=f"comma-separated, of: {', '.join(FILLS)} (default all; gated with --model alone)",
    )
    add_fill_options(parser.add_argument)
    return parser


def _evaluate(options: argparse.Namespace) -> int:
    table = restoration.evaluate(options, lambda line: _tell(f"evaluate: {line}"))
    sys.stdout.write(f"{table}\n")
    return 0


def _run(
    command: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    given: Sequence[str],
) -> int:
    options = parser.parse_args(given)
    try:
        return command(options)
    except (ValueError, OSError, ImportError) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else None
        _tell(f"{parser.prog}: {reason or error}")
        return STOPPED if reason else WRONG_USAGE


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    outlive_readers()
    keep_freed_memory()
    keep_programs()
    sys.exit(main())
