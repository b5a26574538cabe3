"""Beam-3 captions per second: a batch at once against its images one by one.

    python benchmarks/decode.py [--batch=32] [--width=3] [--rounds=5] [--save]

The soft-attention LSTM at the sizes of `benchmarks/train_step.py` (196 x 2048, 512/512/512,
vocabulary 10,000), from features, with random weights. The end token is suppressed, so that every
caption takes all of `--max_len` steps and the figures do not depend on where random weights happen
to stop. Both candidates are one jitted program that has been warmed up.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from protocol import argument_parser, report, time_in_turn

from capjax.captioner import CaptionNet
from capjax.decoders.attention_lstm import AttentionLSTM
from capjax.decoding import Beam, generate
from capjax.types import Features

EOS = 2
GRID, DEPTH, VOCABULARY = (14, 14), 2048, 10_000


class FeaturesOnly(nn.Module):
    """Stands where an encoder would: the benchmark starts from features."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, remat: bool = False) -> Features:
        """Takes a feature map for an image."""
        return Features.from_grid(images)


def build(batch: int) -> tuple[CaptionNet, dict, Features]:
    """The captioner with random weights, and features of `batch` images."""
    decoder = AttentionLSTM(
        vocab_size=VOCABULARY, features=DEPTH, hidden=512, attention=512, embedding=512
    )
    net = CaptionNet(FeaturesOnly(), decoder, (0.0,) * 3, (1.0,) * 3)
    draw = np.random.default_rng(0)
    maps = np.maximum(draw.normal(size=(batch, *GRID, DEPTH)), 0.0)
    features = Features.from_grid(jnp.asarray(maps, jnp.float32))
    tokens = jnp.zeros((1, 1), jnp.int32)
    one = jax.tree.map(lambda leaf: leaf[:1], features)
    init = jax.jit(functools.partial(net.init, method="teacher_force"))
    return net, init(jax.random.key(0), one, tokens), features


def main() -> None:
    """Times both and prints the result."""
    parser = argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=32, help="images decoded at once")
    parser.add_argument("--width", type=int, default=3, help="beam width")
    parser.add_argument("--max_len", type=int, default=20, help="tokens of every caption")
    flags = parser.parse_args()

    net, variables, features = build(flags.batch)
    method = Beam(width=flags.width)
    decode = jax.jit(
        lambda variables, features: generate(
            net,
            variables,
            features,
            method,
            eos=EOS,
            max_len=flags.max_len,
            suppress=(EOS,),
        )
    )
    rows = [
        jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], features)
        for row in range(flags.batch)
    ]
    seconds = time_in_turn(
        {
            "batched": lambda: decode(variables, features),
            "one_by_one": lambda: [jax.block_until_ready(decode(variables, row)) for row in rows],
        },
        rounds=flags.rounds,
        warmup=1,
    )
    for name, value in seconds.items():
        print(f"{name}: {flags.batch / value:.1f} captions/s")
    report(
        "decode",
        ratios={"one_by_one": seconds["one_by_one"] / seconds["batched"]},
        figures={
            "batch_images": flags.batch,
            "beam_width": flags.width,
            "caption_length_tokens": flags.max_len,
            "batched_captions_per_s": flags.batch / seconds["batched"],
            "one_by_one_captions_per_s": flags.batch / seconds["one_by_one"],
        },
        save=flags.save,
    )


if __name__ == "__main__":
    main()
