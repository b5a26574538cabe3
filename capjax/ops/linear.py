"""Matrix products and affine layers in a compute dtype with float32 results."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def product(
    values: Float[Array, "*N I"], kernel: Float[Array, "I O"], dtype: jnp.dtype
) -> Float[Array, "*N O"]:
    """`values @ kernel` with both rounded to `dtype`, accumulated and returned in float32.

    With float64 inputs (oracle tests) and dtype float64 nothing is rounded.
    """
    accumulate = jnp.promote_types(dtype, jnp.float32)
    return jnp.matmul(values.astype(dtype), kernel.astype(dtype), preferred_element_type=accumulate)


def affine(
    values: Float[Array, "*N I"],
    kernel: Float[Array, "I O"],
    bias: Float[Array, " O"],
    dtype: jnp.dtype,
) -> Float[Array, "*N O"]:
    """`values @ kernel + bias`, the bias added in float32."""
    result = product(values, kernel, dtype)
    return result + bias.reshape((1,) * (result.ndim - 1) + bias.shape)
