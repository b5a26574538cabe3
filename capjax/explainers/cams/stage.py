"""What class activation maps have in common: the map of an encoder's stage, and its gradients."""

import abc
import dataclasses
from collections.abc import Callable
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


def stage_activations(
    features: Features, stage: str, *, keeper: str = "CaptionNet.keeping"
) -> Activations:
    """The map of a stage; "" is the map that the decoder reads.

    Args:
      features: that hold the stage.
      stage: by its name.
      keeper: what to call where they do not, for the message.

    Raises:
      ValueError: the features do not hold the stage.
    """
    if not stage:
        values, valid, grid = features.positions, features.valid, features.grid
    else:
        if stage not in features.stages:
            raise ValueError(
                f"the features do not hold the stage {stage!r}; encode with the net that "
                f"`{keeper}` returns"
            )
        maps = features.stages[stage]  # [B F h w D]
        grid = (maps.shape[2], maps.shape[3])
        values = maps.reshape(*maps.shape[:2], -1, maps.shape[-1])
        # Of a clip's stages whole frames are padding, never single cells.
        valid = jnp.any(features.valid, axis=-1, keepdims=True)
        valid = jnp.broadcast_to(valid, values.shape[:3])
    wide = values.astype(jnp.float32)
    return Activations(jnp.where(valid[..., None], wide, 0.0), valid, grid)


def stage_gradients(
    stage: str,
    net: CaptionNet,
    variables: Any,
    request: Request,
    use: Callable[[Float[Array, "B F P D"]], Any],
) -> Any:
    """What `use` makes of the gradient of every target's scalar by a stage, arrays [B Q N ...].

    Args:
      stage: "" is the map that the decoder reads.
      net, variables, request: the captioner, and what is asked.
      use: of the gradient of one target, float32 and 0 at padding; gives arrays [B ...].

    Raises:
      ValueError: the request has no images, and the stage needs them.
    """
    seen = stage_activations(request.features, stage)

    def flat(gradients: Array) -> Any:
        gradients = gradients.reshape(seen.values.shape).astype(jnp.float32)
        return use(jnp.where(seen.valid[..., None], gradients, 0.0))

    if not stage:
        at = request.features.positions.astype(jnp.float32)
        return request.gradients(net, variables, at, flat)
    if request.images is None:
        raise ValueError(
            f"a request about the stage {stage!r} has the images encoded again, and this one was "
            "given features alone; leave the stage out, or give images"
        )

    def see(delta: Float[Array, "B F h w D"]) -> Features:
        features: Any = net.apply(
            perturbed(variables, {stage: delta}), request.images, method="encode"
        )
        return features

    at = jnp.zeros(request.features.stages[stage].shape, jnp.float32)
    return request.gradients(net, variables, at, flat, see)


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
        """The map of the stage; see `stage_activations`."""
        keeper = f"{type(self).__name__}.prepare"
        return stage_activations(request.features, self.stage, keeper=keeper)


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

        def use(gradients: Float[Array, "B F P D"]) -> Float[Array, "B F P"]:
            maps = jax.vmap(self.weigh)(seen.values, gradients, seen.valid)
            return jnp.where(seen.valid, maps, 0.0)

        found = stage_gradients(self.stage, net, variables, request, use)
        return seen.answered(self.NAME, found)
