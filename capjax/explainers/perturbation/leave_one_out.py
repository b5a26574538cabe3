"""Leave-one-out (Li et al. 2016) on the feature grid: what is lost without one position."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps
from capjax.explainers.perturbation.copies import Parts, whole
from capjax.explainers.request import Request


@dataclasses.dataclass(frozen=True)
class LeaveOneOut(InParts):
    """How much of the score is lost where the decoder is not given one position.

    The others stay what they are: nothing attends to the position, the mean feature is that of the
    others, and a decoder that reads positions one after the other skips it. Positive where the
    words need it; 0 at padding. The opposite of caption-guided saliency, which keeps one position
    and leaves out the rest.

    Attributes:
      instead: what the decoder is given there: "nothing", or "mean", the image's mean feature.
    """

    instead: Literal["nothing", "mean"] = "nothing"

    NAME = "leave_one_out"
    COST = "the decoder once a position"
    SOURCE = "Li et al. 2016 (erasure), equation 1, without the division by the score"

    def __post_init__(self) -> None:
        if self.instead not in ("nothing", "mean"):
            raise ValueError(f"got instead={self.instead}; choose nothing or mean")

    def parts(self, request: Request) -> int:
        """A few positions a part."""
        return self._parts(request).count

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Float[Array, "B S Q N"]:
        """No scores."""
        return self._parts(request).room(*request.weights.shape[:3])

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Float[Array, "B S Q N"],
        index: Int[Array, ""],
    ) -> Float[Array, "B S Q N"]:
        """With the scores without each position of part `index`."""
        features, parts = request.features, self._parts(request)
        mean = features.pooled[:, None, None].astype(features.positions.dtype)

        def without(position: Int[Array, ""]) -> Float[Array, "B Q N"]:
            here = (jnp.arange(parts.number) == position).reshape(1, *features.valid.shape[1:])
            if self.instead == "nothing":
                own = dataclasses.replace(features, valid=features.valid & ~here)
            else:
                moved = jnp.where(here[..., None], mean, features.positions)
                own = dataclasses.replace(features, positions=moved)
            return request.score(net, variables, features=own)

        found = jax.vmap(without, out_axes=1)(parts.samples(index))
        return parts.put(tally, found, index)

    def finish(
        self, net: CaptionNet, variables: Any, request: Request, tally: Float[Array, "B S Q N"]
    ) -> dict[str, Maps]:
        """What is lost, on the grid of the features."""
        features, parts = request.features, self._parts(request)
        lost = whole(net, variables, request)[:, None] - tally[:, : parts.number]
        values = jnp.moveaxis(lost, 1, -1)
        values = values.reshape(*values.shape[:-1], *features.valid.shape[1:])
        values = jnp.where(features.valid[:, None, None], values, 0.0)
        return {self.NAME: Maps.on_features(values, features)}

    def _parts(self, request: Request) -> Parts:
        _, frames, positions = request.features.valid.shape
        return Parts.even(frames * positions)
