"""Images a second of the MobileNet encoder, against the same net on grouped convolutions.

    python benchmarks/encode.py [--batch=32] [--rounds=5] [--save]

Seeded random weights: the arithmetic does not depend on them.
"""

from __future__ import annotations

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from protocol import argument_parser, report, time_in_turn

from capjax.encoders import MobileNet, mobilenet


def grouped_convolution(x, kernel, *, stride):
    """The depthwise convolution as XLA's own operation."""
    return jax.lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def main() -> None:
    """Times both maps and both forms of the depthwise convolution."""
    parser = argument_parser(__doc__)
    parser.add_argument("--batch", type=int, default=32, help="images a call")
    arguments = parser.parse_args()
    pixels = np.random.default_rng(0).uniform(-1, 1, (arguments.batch, 224, 224, 3))
    images = jnp.asarray(pixels, jnp.float32)

    def candidate(encoder: MobileNet):
        variables = jax.jit(encoder.init)(jax.random.key(0), images[:1])
        apply = jax.jit(lambda v, x: encoder.apply(v, x).positions)
        jax.block_until_ready(apply(variables, images))  # traced while a form is in place
        return lambda: apply(variables, images)

    with mock.patch.object(mobilenet, "depthwise_convolution", grouped_convolution):
        candidates = {"grouped": candidate(MobileNet())}
    candidates["block_11"] = candidate(MobileNet())
    candidates["block_13"] = candidate(MobileNet(output="block_13"))
    seconds = time_in_turn(candidates, rounds=arguments.rounds)
    report(
        "encode",
        ratios={"grouped_convolution": seconds["grouped"] / seconds["block_11"]},
        figures={
            f"mobilenet_{name}_images_per_s": arguments.batch / value
            for name, value in seconds.items()
        },
        save=arguments.save,
    )


if __name__ == "__main__":
    main()
