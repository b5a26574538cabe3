"""What doubt costs: captions with doubts against captions alone, of real photographs.

    python benchmarks/doubt.py --model=FOLDER --images=FOLDER [--at-once=16] [--rounds=5]

The model has a doubt.json (`python -m capjax.evaluate.hallucination fit`) and pictures to compare
with (`python -m capjax.explainers.language`). Both sides write the same captions by the model's own
decoding, from photographs in memory, through `capjax.caption`. `SETTINGS` are what is compared: a
pool of four is the first four of the model's pictures, and without a pool bits are not read.

Ratios are captions alone over captions with doubts: the goals are 1 / 1.4 with the pool of four and
1 / 2.2 with that of sixteen.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from protocol import RESULTS, argument_parser, report, time_in_turn

import capjax
from capjax.captioner import Captioner
from capjax.data.pictures.finding import find_images
from capjax.data.pictures.given import prepared
from capjax.studies.doubt.doubter import compared_with, kept_doubt

SETTINGS = {
    "no_pool": {"pool": 0, "left_out": ("bits",)},
    "no_pool_no_samples": {"pool": 0, "left_out": ("bits", "stability")},
    "pool_4": {"pool": 4},
    "pool_4_4_samples": {"pool": 4, "samples": 4},
    "pool_4_no_samples": {"pool": 4, "left_out": ("stability",)},
    "pool_16": {"pool": 16},
    "pool_16_4_samples": {"pool": 16, "samples": 4},
}
"""Pictures to compare with, signals that are not read, and captions that are sampled."""


def having(
    captioner: Captioner, *, pool: int, left_out: Sequence[str] = (), samples: int | None = None
) -> Captioner:
    """The captioner with fewer pictures to compare with, doubted by less."""
    kept = kept_doubt(captioner)
    others = jax.tree.map(lambda leaf: leaf[:pool], captioner.others) if pool else None
    captioner = dataclasses.replace(captioner, others=others)
    doubter = kept.doubter.without(left_out)
    kept = dataclasses.replace(
        kept,
        doubter=doubter,
        samples=samples or kept.samples,
        others=compared_with(captioner, doubter.signals),
    )
    return dataclasses.replace(captioner, doubt=kept.to_json())


def main() -> None:
    """Times captions alone and with doubts in turn, and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="a folder with doubt.json")
    parser.add_argument("--images", required=True, help="a folder of photographs")
    parser.add_argument("--at-once", type=int, default=16, help="photographs, one batch of them")
    options = parser.parse_args()
    captioner = capjax.load(options.model)
    root, files = find_images([options.images], exclude=RESULTS)
    pictures = [
        prepared(root / file, captioner.preprocessing)[0] for file in files[: options.at_once]
    ]
    usual = {"batch_size": len(pictures)}

    def captions(own: Captioner, **asked: Any) -> Any:
        return lambda: capjax.caption(own, pictures, **usual, **asked)

    candidates = {"captions": captions(captioner)} | {
        name: captions(having(captioner, **setting), doubt=True)
        for name, setting in SETTINGS.items()
    }
    seconds = time_in_turn(candidates, rounds=options.rounds)
    alone = seconds["captions"]
    report(
        "doubt",
        ratios={name: alone / own for name, own in seconds.items() if name != "captions"},
        figures={
            **{f"{name}_s": own for name, own in seconds.items()},
            **{f"{name}_times": own / alone for name, own in seconds.items()},
            "photographs": len(pictures),
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
