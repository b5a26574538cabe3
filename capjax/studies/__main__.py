"""`python -m capjax.studies STUDY …`: studies that are more than a part of `explain.py`."""

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from capjax.experiment.opening.named import load
from capjax.folder.concepts import command as concepts
from capjax.folder.names import fitting
from capjax.runtime import locks
from capjax.runtime.files import check_writable, local_path, printable, replacing, stopped_by_disk
from capjax.runtime.process import keep_programs
from capjax.runtime.standard_streams import outlive_readers
from capjax.studies.adversarial import command as adversarial
from capjax.studies.adversarial.named import chosen_attacks
from capjax.studies.adversarial.success import curve
from capjax.studies.contract import Finding
from capjax.studies.counterfactual import command as counterfactual
from capjax.studies.counterfactual.measures import BITS
from capjax.studies.counterfactual.summary import likenesses
from capjax.studies.detection import command as detection
from capjax.studies.surrogate import command as surrogate
from capjax.studies.surrogate import pairs
from capjax.viz.charts.interval_chart import interval_chart
from capjax.viz.charts.line_chart import line_chart
from capjax.viz.counterfactual.charts import scatter_panels, told_apart_chart
from capjax.viz.findings import with_drawn
from capjax.viz.strips import side_by_side

STOPPED, WRONG_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 2 for wrong usage, 1 when the disk is full."""
    parser = argparse.ArgumentParser(prog="python -m capjax.studies")
    commands = parser.add_subparsers(metavar="STUDY", required=True)
    concepts.add_command(commands)
    _add(commands, "adversarial", "success of attacks against epsilon", adversarial, _adversarial)
    text = "what captioners say without each object"
    _add(commands, "counterfactual", text, counterfactual, _counterfactual)
    _add(commands, "detection", "tell attacked pictures from clean ones", detection, _detection)
    _add(commands, "pairs", "clean and attacked pictures for a surrogate", pairs, _pairs)
    _add(commands, "surrogate", "a surrogate beside its original", surrogate, _surrogate)
    options = parser.parse_args(arguments)
    try:
        return int(options.call(options))
    except (ValueError, OSError, ImportError) as error:
        reason = stopped_by_disk(error) if isinstance(error, OSError) else None
        sys.stderr.write(f"{parser.prog}: {reason or error}\n")
        return STOPPED if reason else WRONG_USAGE


def _add(commands: Any, name: str, text: str, study: Any, call: Callable[..., int]) -> None:
    own = commands.add_parser(name, help=text, description=study.DESCRIPTION)
    study.add_options(own)
    own.set_defaults(call=functools.partial(_locked, call))


def _locked(call: Callable[..., int], options: argparse.Namespace) -> int:
    """Runs a command that writes into `--out`, which no other process writes into meanwhile."""
    out = local_path(options.out, "--out")
    check_writable(out, "--out", folder=True)
    with locks.held(out / locks.FILE, break_lock=options.break_lock):
        return call(options, out)


def _adversarial(options: argparse.Namespace, out: pathlib.Path) -> int:
    chosen_attacks(options)
    fooled, results = adversarial.measure(options, load(options.model), _tell)
    adversarial.write(out, fooled, results)
    with replacing(out / adversarial.CURVE) as stream:
        line_chart(curve(fooled)).save(stream, "PNG")
    return _written(out, adversarial.TABLE, adversarial.RESULTS, adversarial.CURVE)


def _counterfactual(options: argparse.Namespace, out: pathlib.Path) -> int:
    def draw(finding: Finding) -> None:
        for number, picture in enumerate(list(with_drawn(finding).pictures.values())[:3], start=1):
            name = fitting(finding.name, f".{number}.png")
            with replacing(out / counterfactual.PICTURES / name) as stream:
                Image.fromarray(picture).save(stream, "PNG")

    found = counterfactual.measure(options, load(options.model), _tell, draw)
    found.write(out)
    sys.stdout.write(f"{found}\n")
    charts = {
        "importance.png": scatter_panels(likenesses(found.objects), found.objects, BITS),
        "told_apart.png": told_apart_chart(found.objects),
        "robustness.png": next(map(line_chart, found.summary.curves.values()), None),
    }
    names = [counterfactual.TABLE, counterfactual.RESULTS]
    for name, chart in charts.items():
        if chart is not None:
            with replacing(out / name) as stream:
                chart.save(stream, "PNG")
            names.append(name)
    return _written(out, *names, *([counterfactual.PICTURES] if options.pictures else []))


def _detection(options: argparse.Namespace, out: pathlib.Path) -> int:
    chosen_attacks(options)
    detection.chosen_study(options)
    found = detection.detect(options, load(options.model), _tell)
    sys.stdout.write(f"{found}\n")
    found.write(out)
    names = [detection.TABLE, detection.RESULTS]
    if any(found.intervals.values()):
        title = "AUC with 95 % interval: attacked pictures from clean ones"
        with replacing(out / detection.CHART) as stream:
            interval_chart(found.intervals, title).save(stream, "PNG")
        names.append(detection.CHART)
    return _written(out, *names)


def _pairs(options: argparse.Namespace, out: pathlib.Path) -> int:
    pairs.chosen_attack(options)
    file = pairs.write_pairs(options, load(options.model), _tell)
    return _written(out, file.name, pairs.IMAGES)


def _surrogate(options: argparse.Namespace, out: pathlib.Path) -> int:
    surrogate.chosen_attack(options)
    models = load(options.original), load(options.model)
    found = surrogate.compare(options, *models, _tell)
    sys.stdout.write(f"{found}\n")
    found.write(out)
    names = [surrogate.TABLE, surrogate.RESULTS]
    for one in found.drawn:
        with replacing(out / surrogate.MAPS / f"{one.name}.png") as stream:
            side_by_side(one.picture, one.maps).save(stream, "PNG")
        names[2:] = [surrogate.MAPS]
    return _written(out, *names)


def _written(out: pathlib.Path, *names: str) -> int:
    sys.stdout.write(f"written: {', '.join(printable(out / name) for name in names)}\n")
    return 0


def _tell(sentence: str) -> None:
    sys.stderr.write(f"studies: {sentence}\n")


if __name__ == "__main__":
    outlive_readers()
    keep_programs()
    sys.exit(main())
