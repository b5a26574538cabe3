"""`python -m capjax.studies counterfactual`: importance of all objects of many photographs."""

import argparse
import collections
import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.data.boxes.instances import read_instances
from capjax.data.objects.region import ObjectSource
from capjax.data.objects.scene_objects import SceneObjects
from capjax.data.scenes.still import Scenes
from capjax.explainers.choosing import with_options
from capjax.inpaint.fills.named import DEFAULT
from capjax.metrics.similarity import ENCODER_HELP
from capjax.runtime.command_line import refuse_repeated
from capjax.runtime.files import local_path
from capjax.runtime.record_file import RecordFile
from capjax.runtime.text_table import format_table
from capjax.studies.adversarial.pictures import Tell, add_picture_options, named_files
from capjax.studies.contract import Cell, Finding, Summary, Table
from capjax.studies.counterfactual.named import EXACT, finds_itself
from capjax.studies.counterfactual.proposals import NamedProposals
from capjax.studies.counterfactual.reading import redrawn
from capjax.studies.counterfactual.removing import Removing
from capjax.studies.counterfactual.study import Counterfactual, check_captioner
from capjax.studies.counterfactual.summary import Objects, summary_of
from capjax.studies.found_records import FoundRecord, open_records
from capjax.studies.photographs import DrawnScenes, Files
from capjax.studies.results import write_results

NAME = "counterfactual"
TABLE, RESULTS, PICTURES = f"{NAME}.csv", f"{NAME}.json", "pictures"
SCENES = "scenes:"
FREQUENCY = "training photographs with its class"
SCENE_COUNT, TOLD_EVERY = 100, 25
DESCRIPTION = (
    "Removes every object of every photograph and writes how much each matters to the caption: "
    f"{TABLE}, one row an object; {RESULTS}, with what mentioned objects are told from others by "
    "(AUC with intervals, boxes and outlines apart), whether fills agree, what else goes with "
    "importance, and objects per second; charts, and pictures of some photographs. A run that was "
    "stopped goes on where it was. Exit codes: 0 done, 1 --out takes no more, 2 wrong usage."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    refuse_repeated(parser)
    add = parser.add_argument
    add_picture_options(add)
    add(
        "--objects",
        default="",
        help="COCO instances JSON, a detector's results in that format, a folder of masks, "
        "proposals, or detr[:WEIGHTS]. With --images=scenes:SPLIT, which renders --count scenes "
        f"(default {SCENE_COUNT}), their own objects where none are named",
    )
    add(
        "--fills",
        default=DEFAULT,
        help="with commas, the first one for all but plain removals; of scenes also exact, which "
        f"renders them again without the object (default {DEFAULT})",
    )
    add("--similarity", default="", help=f"encoder of sentences: {ENCODER_HELP} (default ROUGE-L)")
    add(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="other options of the study, as in controls=5; explain.py --list-studies has all",
    )
    add(
        "--training",
        help="COCO instances JSON of the training photographs: does importance go with how many of "
        "them show an object's class?",
    )
    add("--pictures", type=int, default=10, help="photographs to draw (default 10)")


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What a run found.

    Attributes:
      objects: of all photographs.
      summary: of them.
      results: all of it as plain JSON values.
    """

    objects: Objects
    summary: Summary
    results: dict[str, Any]

    def __str__(self) -> str:
        """The summary's tables, for people."""
        told = []
        for title, table in self.summary.tables.items():
            rows = [tuple(_shown(cell) for cell in row) for row in table.rows]
            told.append(f"{title}\n{format_table([table.columns, *rows], left=3)}\n")
        return "\n".join(told)

    def write(self, out: pathlib.Path) -> None:
        """Writes the table and all results into a folder."""
        write_results(out, NAME, object_table(self.objects), self.results)


def measure(
    options: argparse.Namespace,
    captioner: Captioner,
    tell: Tell,
    draw: Callable[[Finding], None],
) -> Measured:
    """Removes the objects of all photographs, one photograph in memory at a time.

    Each finding is kept in `--out` once it is there: the same command goes on after the last one.

    Args:
      options: of the command line.
      captioner: that is studied.
      tell: takes a line on what is done, and on what is left out.
      draw: draws a finding; called with `--pictures` of them, the first ones.

    Raises:
      ValueError: what options or photographs say.
    """
    check_captioner(captioner)
    study = _study(options)
    scenes = _scenes(options)
    photographs: Files | DrawnScenes
    if scenes is None:
        removing = study.removing(captioner)
        photographs = Files(*named_files(options, captioner, tell), tell)
    else:
        removing, photographs = _of_scenes(study, scenes, captioner), DrawnScenes(scenes)
    removing.distance.check()
    for note in study.left_out(captioner) if scenes is None else ():
        tell(f"left out: {note}")
    known = {FREQUENCY: frequencies(options.training)} if options.training else {}
    run = {
        "model_hash": captioner.hash,
        "scenes": None if scenes is None else [scenes.split, scenes.seed],
        **study.describe(),
    }
    out = local_path(options.out, "--out")
    with contextlib.closing(open_records(out, NAME, run)) as records:
        found, pace = _study_all(removing, photographs, captioner, records, options, tell, draw)
    every = [found[name].finding for name in photographs.names if name in found]
    findings = [own for own in every if own.refused is None]
    refused = {own.name: own.refused for own in every if own.refused is not None}
    if not findings:
        raise ValueError(f"no photograph has an object to remove; {_some(refused)}")
    objects = dataclasses.replace(Objects.of(findings), classes=known)
    summary = summary_of(objects)
    results = {
        "model": options.model,
        "model_hash": captioner.hash,
        "settings": study.describe(),
        "numbers": dict(summary.numbers),
        **pace,
        "summary": {title: table.to_json() for title, table in summary.tables.items()},
        "refused": refused,
        "photographs": {
            one.name: {title: table.to_json() for title, table in one.tables.items()}
            for one in findings
        },
    }
    return Measured(objects, summary, results)


def _study_all(
    removing: Removing,
    photographs: Files | DrawnScenes,
    captioner: Captioner,
    records: RecordFile[FoundRecord],
    options: argparse.Namespace,
    tell: Tell,
    draw: Callable[[Finding], None],
) -> tuple[dict[str, FoundRecord], dict[str, Any]]:
    """The findings of earlier runs and of this one, by photograph, and how fast this one was."""
    names = photographs.names
    before = [records.read(name) for name in names if name in records]
    found = {own.file: own for own in before if photographs.still(own)}
    todo = _todo(names, found, options.pictures)
    resumed = len(names) - len(todo)
    draws = options.pictures - sum(own.drawn for name, own in found.items() if name not in todo)
    started, first, done = time.perf_counter(), -1, 0
    findings = removing.findings(captioner, photographs.read(todo))
    for number, finding in enumerate(findings, start=1):
        drawn = finding.refused is None and draws > 0
        if drawn:
            begun = time.perf_counter()
            draw(finding)
            draws, started = draws - 1, started + time.perf_counter() - begun
        record = FoundRecord.of(finding, photographs.known.get(finding.name), drawn=drawn)
        records.append(record)
        found[finding.name] = record
        done += int(finding.numbers.get("objects", 0))
        if first < 0:  # the program is compiled with the first batch
            started, first = time.perf_counter(), done
        if number % TOLD_EVERY == 0:
            tell(f"{number} photographs, {done} objects")
    seconds = time.perf_counter() - started
    # The others of the first batch come at once, so that a run of few says nothing of speed.
    speed = (done - first) / seconds if len(todo) > 2 * options.batch_size else None
    return found, {"objects_per_second": speed, "seconds": seconds, "resumed": resumed}


def frequencies(path: str) -> dict[str, float]:
    """Class -> photographs of a COCO instances JSON that show it.

    Raises:
      FileNotFoundError, ValueError: what `read_instances` raises.
    """
    images = read_instances(local_path(path, "--training")).values()
    shown = (name for image in images for name in {one.category for one in image.instances})
    return {name: float(count) for name, count in collections.Counter(shown).items()}


def object_table(objects: Objects) -> Table:
    """One row an object: where it is, and its importance by each measure and fill."""
    measures = {
        f"{fill}: {name}": values
        for fill, own in objects.importance.items()
        for name, values in own.items()
    }
    columns = ("photograph", *objects.places, *measures)
    rows = tuple(
        (
            photograph,
            *(own[at] for own in objects.places.values()),
            *(None if own[at] != own[at] else float(own[at]) for own in measures.values()),
        )
        for at, photograph in enumerate(objects.photographs)
    )
    return Table(columns, rows)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _study(options: argparse.Namespace) -> Counterfactual:
    fills = [fill.strip() for fill in options.fills.split(",") if fill.strip()]
    if not fills:
        raise ValueError("got no fill; give one or more, such as --fills=telea,mean")
    study = Counterfactual(
        objects=options.objects,
        fill=fills[0],
        others=",".join(fills[1:]),
        seed=options.seed,
        similarity=options.similarity,
        at_once=options.batch_size,
    )
    return with_options(study, options.set, NAME)


def _scenes(options: argparse.Namespace) -> Scenes | None:
    if not options.images[0].startswith(SCENES):
        return None
    if len(options.images) > 1:
        raise ValueError("--images=scenes:SPLIT stands alone; give the folder apart")
    return Scenes(
        options.images[0].removeprefix(SCENES), options.count or SCENE_COUNT, options.seed
    )


def _of_scenes(study: Counterfactual, scenes: Scenes, captioner: Captioner) -> Removing:
    exact = EXACT in study.fills
    more = study.fill == EXACT and (study.keep or study.controls)
    if exact and (study.objects or more):
        raise ValueError(
            "the exact fill removes whole objects of scenes alone: no proposals, and neither keep "
            "nor controls with it as the first fill"
        )
    truth = SceneObjects(scenes)
    source: ObjectSource = truth
    if study.objects:
        if not finds_itself(study.objects):
            raise ValueError(
                f"got --objects={study.objects} for scenes; leave it out, or give proposals or detr"
            )
        source = NamedProposals(study.source(captioner), truth)
    own = [fill for fill in study.fills if fill != EXACT]
    removers = {fill: study.remover(fill) for fill in own}
    if exact:
        removers[EXACT] = redrawn(truth)
    return study.removing_by(captioner, source, removers)


def _todo(names: Sequence[str], found: Mapping[str, FoundRecord], pictures: int) -> Sequence[str]:
    """Names without a finding, and where more pictures are wanted now, of findings to draw."""
    missing = [name for name in names if name not in found]
    again = [name for name, own in found.items() if own.refused is None and not own.drawn]
    more = pictures - sum(own.drawn for own in found.values()) - len(missing)
    wanted = {*missing, *again[: max(0, more)]}
    return [name for name in names if name in wanted]


def _some(refused: dict[str, str]) -> str:
    name, reason = next(iter(refused.items()), ("", "there are none"))
    return f"{name}: {reason}" if name else reason
