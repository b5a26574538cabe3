"""Spectral normalisation (Miyato et al. 2018, arXiv 1802.05957, algorithm 1)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST_SQUARE = 1e-12
"""Of a vector's norm, below which it is not scaled to 1."""


def largest_singular_value(
    matrix: Float[Array, "N D"], u: Float[Array, "1 D"], *, stop_gradient: bool = True
) -> tuple[Float[Array, ""], Float[Array, "1 D"]]:
    """An estimate by one power iteration, and the vector to begin the next one with.

        v = |u W^T|, u' = |v W|, sigma = v W u'^T     (|x| is x scaled to norm 1)

    Args:
      matrix: W.
      u: of norm 1, about; from the last iteration.
      stop_gradient: takes u' and v as constants, as the paper does; the released inpainter's
        program differentiates through them.
    """
    v = _unit(jnp.matmul(u, matrix.T, precision="highest"))
    u = _unit(jnp.matmul(v, matrix, precision="highest"))
    if stop_gradient:
        u, v = jax.lax.stop_gradient((u, v))
    sigma = jnp.sum(jnp.matmul(v, matrix, precision="highest") * u)
    return sigma, jax.lax.stop_gradient(u)


def _unit(x: Float[Array, "1 D"]) -> Float[Array, "1 D"]:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x), LEAST_SQUARE))
