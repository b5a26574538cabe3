"""What doubt costs: captions with doubts against captions alone, of real photographs.

    python benchmarks/doubt.py --model=FOLDER --images=FOLDER [--at-once=16] [--rounds=5]

The model has a doubt.json (`python -m capjax.evaluate.hallucination fit`) and pictures to compare
with (`python -m capjax.explainers.language`). Both sides write the same captions by the model's own
decoding, from photographs in memory, through `capjax.caption`. Without a pool, bits are not read,
and with a pool of four those against the first four of the model's pictures.

Ratios are captions alone over captions with doubts: the goals are 1 / 1.4 with the pool of four and
1 / 2.2 with that of sixteen.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

import capjax
from benchmarks.protocol import argument_parser, report, time_in_turn
from capjax.captioner import Captioner
from capjax.data.pictures.finding import find_images
from capjax.studies.doubt.doubter import kept_doubt


def without(captioner: Captioner, left_out: Sequence[str], pool: int) -> Captioner:
    """The captioner with fewer pictures to compare with, doubted without some signals."""
    kept = kept_doubt(captioner)
    doubter: Any = kept.doubter.without(left_out)
    others = jax.tree.map(lambda leaf: leaf[:pool], captioner.others) if pool else None
    body = dataclasses.replace(kept, doubter=doubter).to_json()
    return dataclasses.replace(captioner, others=others, doubt=body)


def main() -> None:
    """Times captions alone and with doubts in turn, and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="a folder with doubt.json")
    parser.add_argument("--images", required=True, help="a folder of photographs")
    parser.add_argument("--at-once", type=int, default=16, help="photographs, one batch of them")
    options = parser.parse_args()
    captioner = capjax.load(options.model)
    root, files = find_images([options.images])
    height, width = captioner.preprocessing.size
    pictures = []
    for file in files[: options.at_once]:
        with Image.open(root / file) as picture:
            pictures.append(np.asarray(picture.convert("RGB").resize((width, height))))
    usual = {"batch_size": len(pictures)}

    def captions(own: Captioner, **asked: Any) -> Any:
        return lambda: capjax.caption(own, pictures, **usual, **asked)

    signals = kept_doubt(captioner).doubter.signals
    candidates = {"captions": captions(captioner)}
    for name, left_out, pool in (
        ("no_pool", ("bits",), 0),
        ("pool_4", (), 4),
        ("pool_16", (), 16),
        *((f"pool_16_without_{one}", (one,), 16) for one in ("stability", "bits")),
    ):
        candidates[name] = captions(without(captioner, left_out, pool), doubt=True)
    seconds = time_in_turn(candidates, rounds=options.rounds)
    alone = seconds["captions"]
    report(
        "doubt",
        ratios={name: alone / own for name, own in seconds.items() if name != "captions"},
        figures={
            **{f"{name}_s": own for name, own in seconds.items()},
            **{f"{name}_times": own / alone for name, own in seconds.items()},
            "photographs": len(pictures),
            "signals": len(signals),
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
