"""Pictures as the nets see and paint them, and as pixels."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def as_floats(images: UInt8[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Pictures as the nets see them, x / 127.5 - 1."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def as_bytes(images: Float[Array, "B H W 3"]) -> UInt8[Array, "B H W 3"]:
    """The inverse of `as_floats`, rounded; the released program cuts decimals off."""
    return jnp.clip(jnp.rint((images + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
