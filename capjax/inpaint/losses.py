"""What the inpainter and its discriminator minimise (Yu et al. 2019, arXiv 1806.03589, §3.2)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.inpaint.generator import Inpainted


def discriminator_loss(
    real: Float[Array, "B N"], completed: Float[Array, "B N"]
) -> Float[Array, ""]:
    """½ mean max(0, 1 - D(real)) + ½ mean max(0, 1 + D(completed)): the hinge loss."""
    return 0.5 * (jnp.mean(jax.nn.relu(1.0 - real)) + jnp.mean(jax.nn.relu(1.0 + completed)))


def adversarial_loss(completed: Float[Array, "B N"]) -> Float[Array, ""]:
    """-mean D(completed), the generator's side of the hinge loss."""
    return -jnp.mean(completed)


def reconstruction_loss(
    found: Inpainted,
    images: Float[Array, "B H W 3"],
    weights: Float[Array, "B H W 1"] | float = 1.0,
) -> Float[Array, ""]:
    """mean w |x - coarse| + mean w |x - refined| over whole pictures.

    Args:
      found: of the generator.
      images: x.
      weights: w of each pixel; 1 as released, for holes and known pixels alike.
    """
    coarse, refined = (
        jnp.mean(weights * jnp.abs(images - each)) for each in (found.coarse, found.refined)
    )
    return coarse + refined
