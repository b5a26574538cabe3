"""Makes the compiled texts beside it, in the environment of `make accelerators`.

    .venv-accelerators/bin/python tests/benchmarks/compiled/make.py

Each program is small enough to be counted by hand; `tests/benchmarks/test_accelerators.py` does.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from accelerator.targets import TARGETS, only_compile  # noqa: E402
from jax.experimental import pallas as pl  # noqa: E402

SIDE, INNER, TURNS = 2048, 16384, 10
IMAGES, REGIONS, DEPTH = 32, 64, 2048
MAPS = 16, 56, 56, 256


def scanned_products(total, x, weights):
    """TURNS products [SIDE INNER] x [INNER SIDE] in bfloat16, one after the other."""
    return jax.lax.scan(lambda total, w: (total + x @ w, None), total, weights)[0]


def stacked_rows(x):
    """A loop that writes REGIONS rows [SIDE], each in its place."""
    return jax.lax.scan(lambda x, _: (jnp.sin(x), x), x, None, length=REGIONS)[1]


def planted_copy(features, kernel):
    """Every region reads a copy of all features: [REGIONS IMAGES REGIONS DEPTH] is written."""
    copies = jnp.broadcast_to(features, (REGIONS, *features.shape))
    copies = jax.lax.optimization_barrier(copies + 1)
    return jnp.einsum("ribd,de->rie", copies, kernel)


def no_copy(features, kernel):
    """The same without the copy."""
    made = jnp.einsum("ibd,de->ie", features + 1, kernel)
    return jnp.broadcast_to(made, (REGIONS, *made.shape))


def convolutions(x, weights):
    """A convolution 3x3 of MAPS, and its two gradients."""

    def convolve(x, weights):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=numbers)

    made, pull_back = jax.vjp(convolve, x, weights)
    return made, pull_back(made)


def kernel(x, weights):
    """Sums of exponentials of TURNS products [256 512] x [512 128], for 8 blocks of rows."""

    def body(x, weights, out):
        def turn(_, total):
            product = jnp.dot(x[...], weights[...], preferred_element_type=jnp.float32)
            return total + jnp.sum(jnp.exp(product), axis=1, keepdims=True)

        out[...] = jax.lax.fori_loop(0, TURNS, turn, jnp.zeros_like(out[...]))

    return pl.pallas_call(
        body,
        grid=(8,),
        in_specs=[
            pl.BlockSpec((256, 512), lambda row: (row, 0)),
            pl.BlockSpec((512, 128), lambda row: (0, 0)),
        ],
        out_specs=pl.BlockSpec((256, 128), lambda row: (row, 0)),
        out_shape=jax.ShapeDtypeStruct((2048, 128), jnp.float32),
        name="summed_exponentials",
    )(x, weights)


def half(*dims):
    return jax.ShapeDtypeStruct(dims, jnp.bfloat16)


PROGRAMS = {
    scanned_products: (half(SIDE, SIDE), half(SIDE, INNER), half(TURNS, INNER, SIDE)),
    stacked_rows: (jax.ShapeDtypeStruct((SIDE,), jnp.float32),),
    planted_copy: (half(IMAGES, REGIONS, DEPTH), half(DEPTH, DEPTH)),
    no_copy: (half(IMAGES, REGIONS, DEPTH), half(DEPTH, DEPTH)),
    convolutions: (half(*MAPS), half(3, 3, MAPS[-1], MAPS[-1])),
    kernel: (half(2048, 512), half(512, 128)),
}

ONLY = {convolutions: "h200", kernel: "v5e"}
"""Programs that one chip alone is asked about."""


def main() -> None:
    only_compile()
    for chip in ("v5e", "h200"):
        for function, shapes in PROGRAMS.items():
            if ONLY.get(function, chip) != chip:
                continue
            compiled = jax.jit(function).lower(*TARGETS[chip].placed(shapes)).compile()
            text = compiled.as_text().replace(f"{ROOT}/", "")
            text = re.sub(r'"(\w*scoped_memory|flag)_configs":\[[^\]]*\],', "", text)
            text = re.sub(r'"body":"[^"]*"', '"body":""', text)
            (HERE / f"{function.__name__}_{chip}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
