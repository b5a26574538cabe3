"""What class activation maps have in common: the map of an encoder's stage, and its gradients."""

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.captioner import CaptionNet
from capjax.encoders.encoder import perturbed
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request
from capjax.types import Features


class Activations(NamedTuple):
    """The map of a stage, row by row, in float32.

    Attributes:
      values: 0 where the picture is padding.
      valid: False for padding.
      grid: (h, w), with h * w = P.
    """

    values: Float[Array, "B F P D"]
    valid: Bool[Array, "B F P"]
    grid: tuple[int, int]

    def answered(self, name: str, values: Float[Array, "B Q N F P"]) -> dict[str, Maps]:
        """Maps on the grid of the stage."""
        return {name: Maps(values.reshape(*values.shape[:-1], *self.grid))}


@dataclasses.dataclass(frozen=True)
class StageMethod(Method):
    """A method that explains by the map of one stage of the encoder.

    Attributes:
      stage: by its name (`Encoder.stages`); "" is the map that the decoder reads.
    """

    stage: str = ""

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """Has the encoder keep the stage; raises ValueError where it has none of this name."""
        return net.keeping(self.stage) if self.stage else net

    def activations(self, request: Request) -> Activations:
        """The map of the stage.

        Raises:
          ValueError: the features do not hold the stage.
        """
        features = request.features
        if not self.stage:
            values, valid, grid = features.positions, features.valid, features.grid
        else:
            if self.stage not in features.stages:
                raise ValueError(
                    f"the features do not hold the stage {self.stage!r}; encode with the net that "
                    f"`{type(self).__name__}.prepare` returns"
                )
            maps = features.stages[self.stage]  # [B F h w D]
            grid = (maps.shape[2], maps.shape[3])
            values = maps.reshape(*maps.shape[:2], -1, maps.shape[-1])
            # Of a clip's stages whole frames are padding, never single cells.
            valid = jnp.any(features.valid, axis=-1, keepdims=True)
            valid = jnp.broadcast_to(valid, values.shape[:3])
        wide = values.astype(jnp.float32)
        return Activations(jnp.where(valid[..., None], wide, 0.0), valid, grid)


@dataclasses.dataclass(frozen=True)
class GradientMethod(StageMethod):
    """A map of activations and gradients: `weigh` makes it of one image's.

    The gradient sees all that lies behind the stage: the rest of the encoder, attention, the gate
    and the initial state. Earlier words are constants, but the states they led to depend on the
    image, so the gradient flows through the whole unrolled decoder. Maps stay signed: the papers
    end with a ReLU, which hides what speaks against a word, and which `jax.nn.relu` of these maps
    is. With log-probabilities evidence for competing words counts against the map; measure "logit"
    is the papers'.
    """

    @abc.abstractmethod
    def weigh(
        self,
        activations: Float[Array, "F P D"],
        gradients: Float[Array, "F P D"],
        valid: Bool[Array, "F P"],
    ) -> Float[Array, "F P"]:
        """The map of one image for one target; activations and gradients are 0 at padding."""

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps of every sentence, one sentence after the other."""
        seen = self.activations(request)

        def use(gradients: Array) -> Float[Array, "B F P"]:
            gradients = gradients.reshape(seen.values.shape).astype(jnp.float32)
            gradients = jnp.where(seen.valid[..., None], gradients, 0.0)
            maps = jax.vmap(self.weigh)(seen.values, gradients, seen.valid)
            return jnp.where(seen.valid, maps, 0.0)

        if not self.stage:
            at = request.features.positions.astype(jnp.float32)
            return seen.answered(self.NAME, request.gradients(net, variables, at, use))
        if request.images is None:
            raise ValueError(
                f"{self.NAME} explains the stage {self.stage!r}, for which it encodes the images "
                "again, and was given features alone; leave the stage out, or give images"
            )

        def see(delta: Float[Array, "B F h w D"]) -> Features:
            features: Any = net.apply(
                perturbed(variables, {self.stage: delta}), request.images, method="encode"
            )
            return features

        at = jnp.zeros(request.features.stages[self.stage].shape, jnp.float32)
        return seen.answered(self.NAME, request.gradients(net, variables, at, use, see))
