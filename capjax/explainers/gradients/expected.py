"""Expected gradients (Erion et al. 2021) on the feature grid: many baselines instead of one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps
from capjax.explainers.perturbation.running import Running, noise_note, sampling_flags
from capjax.explainers.request import Request
from capjax.types import Features


@dataclasses.dataclass(frozen=True)
class ExpectedGradients(InParts):
    """What each position adds to the score, compared with pictures of one thing everywhere.

    The mean of Integrated Gradients over baselines. A baseline is the descriptor of one position,
    drawn from the image's own, at every position: what the captioner sees of that position alone.
    A sample is one baseline and one place on the way from it to the features, uniform both, where

        (features - baseline) * gradient,    summed over channels,

    is taken. All values of a target sum, but for the draws, to F(features) - mean over positions p
    of F(p everywhere).

    Deviation: the paper draws baselines from the training data, in the space of the inputs. The
    image's own positions need no other picture, so that a map depends on its image alone.
    Off-grid tokens of an encoder stay where they are.

    Attributes:
      samples: baselines drawn, with a place each.
    """

    samples: int = 64

    NAME = "expected_gradients"
    COST = "`samples` times one pass forward and one backward per word, through the decoder"
    SOURCE = "Erion et al. 2021, equation 3"

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise ValueError(f"got samples={self.samples}; expected 2 or more")

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps are noisy."""
        return noise_note(flags, words, f"samples={self.samples}")

    def parts(self, request: Request) -> int:
        """One sample a part."""
        return self.samples

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Running:
        """No samples."""
        return Running.start(request.used, *request.features.positions.shape[1:3])

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Running,
        index: Int[Array, ""],
    ) -> Running:
        """With sample `index`."""
        features = request.features
        keys = rng.child(request.keys, self.NAME)
        baseline, share = jax.vmap(_drawn, in_axes=(0, 0, None))(keys, features, index)
        way = features.positions.astype(jnp.float32) - baseline
        way = jnp.where(features.valid[..., None], way, 0.0)

        def use(gradients: Float[Array, "B F P D"]) -> Float[Array, "B F P"]:
            return jnp.sum(gradients * way, axis=-1)

        found = request.gradients(net, variables, baseline + share * way, use)
        return tally.take(found, jnp.zeros_like(found), jnp.float32(1))

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Running
    ) -> dict[str, Maps]:
        """The mean over samples."""
        found = Maps.on_features(tally.mean, request.features, flags=sampling_flags(tally))
        return {
            self.NAME: dataclasses.replace(found, error=tally.error.reshape(found.values.shape))
        }


def _drawn(
    key: Array, features: Features, index: Int[Array, ""]
) -> tuple[Float[Array, "1 1 D"], Float[Array, "1 1 1"]]:
    """One image's baseline and share of the way for sample `index`.

    Args:
      features: without the leading B.
    """
    which, how_far = jax.random.split(jax.random.fold_in(key, index))
    flat = features.positions.reshape(-1, features.positions.shape[-1])
    # Of equal weights at valid positions; -inf is never drawn.
    weights = jnp.where(features.valid.reshape(-1), 0.0, -jnp.inf)
    position = jax.random.categorical(which, weights)
    share = jax.random.uniform(how_far)
    return flat[position].astype(jnp.float32)[None, None], share[None, None, None]
