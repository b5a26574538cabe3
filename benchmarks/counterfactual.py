"""Photographs without each of their objects: one pipeline against its stages, and one by one.

    python benchmarks/counterfactual.py --images=FOLDER --boxes=COCO_INSTANCES_JSON
        [--model=photographs] [--count=16] [--alone=4] [--fill=telea] [--at-once=32] [--rounds=5]

The pipeline is the core of the study `counterfactual`, from photographs in memory to findings: all
objects of the first `--count` photographs that have any. Files are read before. Compared with it:

- its bound: fill, prepare (resize), encode, decode and score, each measured alone over the same
  pictures in the same batches, added up. Goal: at least 0.85 of it.
- one object at a time: the same study with batches of one, on the first `--alone` photographs.
- PyTorch one object at a time, as a notebook would (`torch_counterfactual.py`; extra `parity`):
  the same weights, the same fill, eager modules and a beam search as a Python loop. Left out
  where torch is not installed, or with --no-torch.

Before anything is timed the captions of all sides are compared: the study's in batches and one by
one have to be equal; the share of PyTorch's that are is a figure. `memory_growth_mb` is by how much
more the process holds at once from `--count` photographs to three times as many.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import itertools
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from protocol import RESULTS, argument_parser, report, time_in_turn

import capjax
from capjax.captioner import Captioner
from capjax.data.objects.region import at_size
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.images import load_image, prepare
from capjax.decoding.captions import see
from capjax.decoding.generate import generate, never_written
from capjax.decoding.rules import default_decoding
from capjax.explainers.request import Forced
from capjax.inpaint.fills.named import DEFAULT
from capjax.studies.contract import Finding
from capjax.studies.counterfactual.reading import Remover
from capjax.studies.counterfactual.removing import Removing, reduced
from capjax.studies.counterfactual.study import Counterfactual
from capjax.studies.counterfactual.telling import WITHOUT
from capjax.types import Features

MEGABYTE = 2**20
STAGES = ("fill", "prepare", "encode", "decode", "score")


class Photograph(NamedTuple):
    """A photograph, whole and as the study brings it to size, and what is removed of it."""

    name: str
    whole: np.ndarray
    image: np.ndarray
    masks: list[np.ndarray]


def photographs(options: argparse.Namespace, removing: Removing) -> list[Photograph]:
    """The first ones of the folder that have an object to remove."""
    root, files = find_images([options.images], exclude=RESULTS)
    found: list[Photograph] = []
    for name in files:
        whole = load_image(root / name)
        regions = removing.source.regions(name, whole)
        image = reduced(whole, removing.side)
        own = [
            dataclasses.replace(region, mask=at_size(region.mask, image.shape[:2]))
            for region in regions or ()
        ]
        plan = removing.asking.plan(image, own)
        if plan.chosen:
            found.append(Photograph(name, whole, image, [one.mask for one in plan.removals]))
            if len(found) == options.count:
                return found
    sys.exit(f"{options.images} has {len(found)} photographs with objects; expected --count")


class Stages:
    """The stages of the pipeline, each alone over all batches; what one makes the next one reads.

    Rows are those of the study: of each photograph itself first, then without each object; the last
    batch is filled up with its last row.
    """

    def __init__(
        self, captioner: Captioner, photographs: Sequence[Photograph], remove: Remover, at_once: int
    ) -> None:
        self.captioner, self.remove = captioner, remove
        rows = [
            (number, one.image, mask)
            for number, one in enumerate(photographs)
            for mask in (None, *one.masks)
        ]
        self.batches = [rows[at : at + at_once] for at in range(0, len(rows), at_once)]
        self.at_once = at_once
        self.decoding, self.max_len = default_decoding(captioner)
        self.pictures = self.fill()
        self.prepared = self.prepare()
        self.features = self.encode()
        decoded = jax.device_get(self.decode())
        said = np.concatenate([own.tokens[:, 0] for own in decoded])
        firsts = list(itertools.accumulate((1 + len(one.masks) for one in photographs), initial=0))
        subjects = [[number for number, *_ in batch] for batch in self.batches]
        self.asked = []
        for at, own in enumerate(subjects):
            filled = own + own[-1:] * (at_once - len(own))
            about = said[[firsts[number] for number in filled]]
            self.asked.append(np.stack([about, said[at * at_once :][:at_once]], axis=1))

    def fill(self) -> list[list[np.ndarray]]:
        """Pictures without what is removed."""
        found = []
        for batch in self.batches:
            pictures = [image for _, image, _ in batch]
            own = [(at, mask) for at, (_, _, mask) in enumerate(batch) if mask is not None]
            given = [pictures[at] for at, _ in own]
            for (at, _), picture in zip(
                own, self.remove(given, [mask for _, mask in own]), strict=True
            ):
                pictures[at] = picture
            found.append(pictures)
        return found

    def prepare(self) -> list[np.ndarray]:
        """As the encoder wants them."""
        found = []
        for pictures in self.pictures:
            own = [prepare(picture, self.captioner.preprocessing)[0] for picture in pictures]
            found.append(np.stack(own + own[-1:] * (self.at_once - len(own))))
        return found

    def encode(self) -> list[Features]:
        """Features."""
        own = self.captioner
        return [see(own.net, own.variables, images) for images in self.prepared]

    def decode(self) -> list[Any]:
        """Captions, by the model's own search."""
        return [self._decode(self.captioner.variables, own) for own in self.features]

    def score(self) -> list[Any]:
        """Log-probabilities of the photograph's caption, attention of the picture's own."""
        given = zip(self.features, self.asked, strict=True)
        return [self._score(self.captioner.variables, *own) for own in given]

    @functools.cached_property
    def _decode(self) -> Callable[..., Any]:
        text, net = self.captioner.text, self.captioner.net
        return jax.jit(
            lambda variables, features: generate(
                net,
                variables,
                features,
                self.decoding,
                eos=text.eos,
                max_len=self.max_len,
                suppress=never_written(text),
            )
        )

    @functools.cached_property
    def _score(self) -> Callable[..., Any]:
        net = self.captioner.net

        def score(variables: Any, features: Features, tokens: jax.Array) -> Any:
            read = Forced.read(net, variables, features, tokens)
            return read.log_probs[:, 0], None if read.attention is None else read.attention[:, 1]

        return jax.jit(score)


def captions(findings: Iterable[Finding]) -> list[str]:
    """Of each photograph and of each of its counterfactuals, in order."""
    return [str(row[2]) for one in findings for row in one.tables[WITHOUT].rows]


def with_torch(
    captioner: Captioner, photographs: Sequence[Photograph], remove: Remover
) -> Callable[[], list[str]]:
    """The same in PyTorch, one picture after the other; gives the captions."""
    import torch
    from torch_counterfactual import TorchCaptioner

    # As many as jax's own pool: the cores of this process.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    peer = TorchCaptioner(captioner, *default_decoding(captioner))

    def run() -> list[str]:
        said = []
        for one in photographs:
            values = peer.encode(prepare(one.image, captioner.preprocessing)[0])
            whole = peer.caption(values)
            said.append(whole)
            peer.read(values, [whole])
            for mask in one.masks:
                (picture,) = remove([one.image], [mask])
                values = peer.encode(prepare(picture, captioner.preprocessing)[0])
                said.append(peer.caption(values))
                peer.read(values, [whole, said[-1]])
        return [captioner.text.decode(tokens) for tokens in said]

    return run


def memory_growth(
    run: Callable[[Sequence[Photograph]], Iterator[Finding]], found: Sequence[Photograph]
) -> float:
    """Megabytes by which more is held where three times as many photographs stream through.

    Compared is the most that is resident at any finding, of runs after all is compiled: a peak of
    the process's life is that of compiling, which hides what comes later.
    """

    def most(given: Sequence[Photograph]) -> int:
        return max(resident_bytes() for _ in run(given))

    most(found)
    once = most(found)
    return (most([*found] * 3) - once) / MEGABYTE


def resident_bytes() -> int:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    """Compares the captions of all sides, times them in turn, and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="photographs", help="a captioner of photographs")
    parser.add_argument("--images", required=True, help="folder of photographs")
    parser.add_argument("--boxes", required=True, help="COCO instances JSON, or masks")
    parser.add_argument("--count", type=int, default=16, help="photographs with objects")
    parser.add_argument("--alone", type=int, default=4, help="of them, those done one by one")
    parser.add_argument("--fill", default=DEFAULT, help="what fills the place of an object")
    parser.add_argument("--at-once", type=int, default=32, help="pictures in a batch")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out")
    options = parser.parse_args()
    captioner = capjax.load(options.model)
    study = Counterfactual(objects=options.boxes, fill=options.fill, at_once=options.at_once)
    try:
        study.check(captioner)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    removing = study.removing(captioner)
    remove = removing.removers[options.fill]
    found = photographs(options, removing)
    few = found[: options.alone]
    objects, few_objects = (sum(len(one.masks) for one in own) for own in (found, few))

    def findings(own: Removing, given: Sequence[Photograph]) -> Iterator[Finding]:
        return own.findings(captioner, ((one.name, one.whole) for one in given))

    def count(own: Removing, given: Sequence[Photograph]) -> int:
        return sum(1 for _ in findings(own, given))

    single = dataclasses.replace(removing, at_once=1)
    stages = Stages(captioner, found, remove, options.at_once)
    candidates: dict[str, Callable[[], Any]] = {
        "pipeline": lambda: count(removing, found),
        **{name: getattr(stages, name) for name in STAGES},
        "one_by_one": lambda: count(single, few),
    }
    written = captions(findings(removing, few))
    if captions(findings(single, few)) != written:
        sys.exit("captions in batches and one by one differ; nothing was timed")
    agreement = {}
    if not options.no_torch and importlib.util.find_spec("torch") is not None:
        candidates["torch_one_by_one"] = peer = with_torch(captioner, few, remove)
        same = [own == other for own, other in zip(written, peer(), strict=True)]
        agreement["torch_same_captions_share"] = float(np.mean(same))
    growth = memory_growth(functools.partial(findings, removing), found)
    seconds = time_in_turn(candidates, rounds=options.rounds, warmup=1)
    bound = sum(seconds[name] for name in STAGES)
    # Of a picture, the photographs themselves among them: objects a photograph differ.
    each = seconds["pipeline"] / (objects + len(found))
    alone = [name for name in seconds if name.endswith("one_by_one")]
    report(
        "counterfactual",
        ratios={
            "of_the_bound": bound / seconds["pipeline"],
            **{name: seconds[name] / (few_objects + len(few)) / each for name in alone},
        },
        figures={
            "photographs": len(found),
            "objects": objects,
            "at_once": options.at_once,
            "objects_per_s": objects / seconds["pipeline"],
            **{f"{name}_objects_per_s": few_objects / seconds[name] for name in alone},
            **{f"{name}_s": seconds[name] for name in ("pipeline", *STAGES)},
            "bound_s": bound,
            **agreement,
            "memory_growth_mb": growth,
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
