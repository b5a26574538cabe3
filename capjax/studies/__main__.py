"""`python -m capjax.studies STUDY …`: studies that are more than a part of `explain.py`."""

import argparse
import sys
from collections.abc import Sequence

from capjax.experiment.opening.named import load
from capjax.folder.concepts import command as concepts
from capjax.runtime.files import check_writable, local_path, printable, replacing, stopped_by_disk
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers
from capjax.studies.adversarial import command as adversarial
from capjax.studies.adversarial.success import curve
from capjax.viz.charts.line_chart import line_chart

STOPPED, WRONG_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 2 for wrong usage, 1 when the disk is full."""
    parser = argparse.ArgumentParser(prog="python -m capjax.studies")
    commands = parser.add_subparsers(metavar="STUDY", required=True)
    concepts.add_command(commands)
    own = commands.add_parser(
        "adversarial",
        help="success of attacks against epsilon",
        description=adversarial.DESCRIPTION,
    )
    adversarial.add_options(own)
    own.set_defaults(call=_adversarial)
    options = parser.parse_args(arguments)
    try:
        return int(options.call(options))
    except (ValueError, OSError, ImportError) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else None
        sys.stderr.write(f"{parser.prog}: {reason or error}\n")
        return STOPPED if reason else WRONG_USAGE


def _adversarial(options: argparse.Namespace) -> int:
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    adversarial.checked_options(options)
    fooled, results = adversarial.measure(options, load(options.model), _tell)
    adversarial.write(out, fooled, results)
    with replacing(out / adversarial.CURVE) as stream:
        line_chart(curve(fooled)).save(stream, "PNG")
    names = (adversarial.TABLE, adversarial.RESULTS, adversarial.CURVE)
    sys.stdout.write(f"written: {', '.join(printable(out / name) for name in names)}\n")
    return 0


def _tell(sentence: str) -> None:
    sys.stderr.write(f"studies: {sentence}\n")


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
