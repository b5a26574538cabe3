"""Learning curves: the training loss and the validation scores of one run or of several.

python -m capjax.viz.curves RUN [RUN …] [--scores=METEOR,BLEU-1] [--out=curves.png]
"""

import argparse
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from capjax.metrics.card import COLUMNS
from capjax.runtime.files import replacing
from capjax.runtime.standard_streams import outlive_readers
from capjax.train.records import Record, read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORES = ("METEOR", "BLEU-1")
"""What a curve is drawn of by default, where a run has measured it."""

RESTORATION = ("PSNR", "SSIM", "L1")
"""The same of runs that train an inpainter."""

METRICS_FILE = "metrics.jsonl"
OK, USAGE = 0, 2


def read_run(folder: pathlib.Path) -> list[Record]:
    """The records of a training workdir.

    Raises:
      ValueError: the folder holds none.
    """
    records = read_metrics(folder / METRICS_FILE)
    if not records:
        raise ValueError(
            f"{folder} has no {METRICS_FILE} with a step in it; expected the workdir of train.py"
        )
    return records


def run_labels(folders: Sequence[pathlib.Path]) -> list[str]:
    """A name for each run: its folder's, with as many parents as tell the runs apart."""
    paths = [folder.resolve() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]


def plot_curves(runs: Mapping[str, Sequence[Record]], scores: Sequence[str] = SCORES) -> "Figure":
    """A panel of the training loss and one of each validation score, over epochs.

    The loss is drawn as recorded, faintly, and as a running mean over a twentieth of the run. A
    score that no run has measured gets no panel: METEOR needs Java.

    Args:
      runs: name -> records of `metrics.jsonl`.
      scores: names under "validation" in the records.
    """
    from matplotlib.figure import Figure

    measured = [
        name
        for name in dict.fromkeys(scores)
        if any(name in record.get("validation", {}) for own in runs.values() for record in own)
    ]
    panels = ["training loss", *measured]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for number, (name, records) in enumerate(runs.items()):
        colour = f"C{number % 10}"
        updates = [record for record in records if "loss" in record]  # not what a run starts from
        epochs = np.array([record["epoch"] for record in updates])
        losses = np.array([record["loss"] for record in updates])
        axes[0].plot(epochs, losses, color=colour, alpha=0.2, linewidth=0.8)
        axes[0].plot(epochs, running_mean(losses), color=colour, label=name)
        for axis, score in zip(axes[1:], measured, strict=True):
            found = [
                (record["epoch"], record["validation"][score])
                for record in records
                if score in record.get("validation", {})
            ]
            if found:
                axis.plot(*zip(*found, strict=True), "o-", color=colour, markersize=3, label=name)
    for axis, title in zip(axes, panels, strict=True):
        axis.set_title(title if title == panels[0] else f"validation {title}")
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    return figure


def running_mean(values: np.ndarray) -> np.ndarray:
    """The mean over the twentieth of a run around each step.

    Near the start, where a loss falls, fewer steps count on both sides; near the end, fewer after.
    """
    sums = np.cumsum(np.insert(values, 0, 0.0))
    steps = np.arange(len(values))
    reach = np.minimum(len(values) // 40, steps)
    starts, ends = steps - reach, np.minimum(steps + reach + 1, len(values))
    return (sums[ends] - sums[starts]) / (ends - starts)


def write_curves(
    folders: Sequence[pathlib.Path], out: pathlib.Path, scores: Sequence[str] = SCORES
) -> None:
    """Draws the curves of training workdirs into a PNG file."""
    names = run_labels(folders)
    figure = plot_curves(
        {name: read_run(folder) for name, folder in zip(names, folders, strict=True)}, scores
    )
    with replacing(out) as stream:
        figure.savefig(stream, format="png", dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m capjax.viz.curves",
        description="Draws training loss and validation scores of training runs in one PNG.",
    )
    add = parser.add_argument
    add("runs", nargs="+", type=pathlib.Path, metavar="RUN", help="workdir of train.py")
    add("--scores", default=",".join(SCORES), help=f"names, default {','.join(SCORES)}")
    add("--out", type=pathlib.Path, default=pathlib.Path("curves.png"), help="default curves.png")
    options = parser.parse_args(arguments)
    scores = options.scores.split(",")
    known = (*COLUMNS, *RESTORATION)
    unknown = [name for name in scores if name not in known]
    try:
        if len({folder.resolve() for folder in options.runs}) < len(options.runs):
            raise ValueError("a run is named twice; name each once")
        if unknown:
            raise ValueError(
                f"unknown score {', '.join(map(repr, unknown))}; choose from {', '.join(known)}"
            )
        write_curves(options.runs, options.out, scores)
    except ImportError:
        print('error: matplotlib is missing; pip install "capjax[viz]"', file=sys.stderr)
        return USAGE
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    print(f"written: {options.out}")
    return OK


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
