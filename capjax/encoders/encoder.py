"""What all encoders share: stages with names, which a method may read, perturb and differentiate.

A method that explains a stage records it and adds zeros to it:

    net = net.keeping("layer3")
    features = net.apply(variables, images, method="encode")
    stage = features.stages["layer3"]  # [B F h w D]

    def score(delta):
        features = net.apply(perturbed(variables, {"layer3": delta}), images, method="encode")
        return ...  # of the features

    slope = jax.grad(score)(jnp.zeros_like(stage))  # of the score by the stage
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from flax import linen as nn
from jaxtyping import Array, Float

Relu = Callable[[Array], Array]

PERTURBATIONS = "perturbations"
"""The collection of variables that `perturbed` adds; `init` never creates it."""

_STAGES = "stages"
_ATTENTIONS = "attentions"
_ONE_CALL = "one_call"


def for_one_call(default: Any) -> Any:
    """A field of a module that a method sets for its own call: no setting, saved nowhere."""
    return dataclasses.field(default=default, kw_only=True, metadata={_ONE_CALL: True})


def is_for_one_call(field: dataclasses.Field[Any]) -> bool:
    """Whether `for_one_call` made the field."""
    return _ONE_CALL in field.metadata


class Encoder(nn.Module):
    """Normalised images in, features out; the base of every encoder.

    An encoder with ReLUs takes them all from its field `relu`, one with another nonlinearity has no
    such field.

    Attributes:
      keep: stages that `Features.stages` holds; `keeping` adds to them.
    """

    keep: tuple[str, ...] = for_one_call(())

    def stages(self) -> tuple[str, ...]:
        """Names of the stages that exist, in the order of the network."""
        raise NotImplementedError(f"{type(self).__name__} names no stages")

    def keeping(self, *stages: str) -> Self:
        """This encoder, which also keeps these stages; its variables are the same.

        Raises:
          ValueError: a stage does not exist, or lies beyond the output.
        """
        asked = {*self.keep, *stages}
        self._check_stages(asked)
        return self.clone(keep=tuple(name for name in self.stages() if name in asked))

    def with_relu(self, rule: Callable[[Relu], Relu]) -> Self:
        """This encoder with `rule(relu)` in place of its `relu`, for another backward pass.

        Args:
          rule: gives a function with the values of the one it is given, which is `nn.relu` or
            `nn.relu6`. Given one rule twice, the two encoders are equal, and traced once.

        Raises:
          ValueError: the encoder has no ReLU.
        """
        if not hasattr(self, "relu"):
            raise ValueError(
                f"{type(self).__name__} has no ReLU whose backward pass could be replaced; choose "
                "another method"
            )
        return self.clone(relu=_follow(rule, self.relu))

    def new_record(self) -> dict[str, Array]:
        """Where `at_stage` keeps the stages of one run.

        Raises:
          ValueError: a stage that is to be kept, or is perturbed, does not exist.
        """
        self._check_stages((*self.keep, *self._perturbations()))
        return {}

    def touched(self, stage: str) -> bool:
        """Whether somebody asked for a stage, or perturbs it."""
        return stage in self.keep or stage in self._perturbations()

    def at_stage(
        self, stage: str, x: Float[Array, "B h w D"], record: dict[str, Array]
    ) -> Float[Array, "B h w D"]:
        """The map of a stage: perturbed and kept where somebody asked, otherwise as it came.

        Raises:
          ValueError: a perturbation has another shape than the stage.
        """
        if stage in self._perturbations():
            delta = _of_images(f"stage {stage!r}", self._perturbations()[stage], len(x))
            if delta.shape != x.shape:
                raise ValueError(
                    f"got a perturbation of {delta.shape[1:]} (h, w, D) for stage {stage!r}; "
                    f"expected {x.shape[1:]}"
                )
            x = x + delta.astype(x.dtype)
        if stage in self.keep:
            record[stage] = x[:, None]
        return x

    def moved_attention(self, layer: str, images: int) -> Float[Array, "B H S S"] | None:
        """What somebody adds to the attention of a layer of so many images; None where nobody."""
        moves: Mapping[str, Array] = self.get_variable(PERTURBATIONS, _ATTENTIONS, {})
        return _of_images(f"attention {layer!r}", moves[layer], images) if layer in moves else None

    def _perturbations(self) -> Mapping[str, Array]:
        found: Mapping[str, Array] = self.get_variable(PERTURBATIONS, _STAGES, {})
        return found

    def _check_stages(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.stages():
                raise ValueError(
                    f"this {type(self).__name__} has no stage {name!r} up to its output; choose "
                    f"one of: {', '.join(self.stages())}"
                )


def perturbed(
    variables: Mapping[str, Any],
    deltas: Mapping[str, Float[Array, "B F h w D"]],
    attentions: Mapping[str, Float[Array, "B F H S S"]] | None = None,
) -> dict[str, Any]:
    """Variables of a captioner with which its encoder adds `deltas` to stages.

    They go wherever variables go: into `net.apply`, and into any function that encodes images with
    them. Deltas of zero change no number, and derivatives by them are those by the stages.

    Args:
      variables: of a `CaptionNet`.
      deltas: stage -> what is added to it; of the shape that `Features.stages` has.
      attentions: of a `ViT`, its block -> what is added to that layer of `Features.attentions`.
    """
    own = {_STAGES: dict(deltas), _ATTENTIONS: dict(attentions or {})}
    return {**variables, PERTURBATIONS: {"encoder": own}}


def by_image(deltas: Any, images: int) -> Any:
    """What `perturbed` adds to an encoder's variables, cut into so many images [B*F 1 h w D]."""
    return {
        kind: {
            name: _of_images(f"{kind[:-1]} {name!r}", delta, images)[:, None]
            for name, delta in own.items()
        }
        for kind, own in deltas.items()
    }


@functools.cache
def _follow(rule: Callable[[Relu], Relu], relu: Relu) -> Relu:
    return rule(relu)


def _of_images(place: str, delta: Array, images: int) -> Array:
    """A delta [B F h w D] as [B*F h w D]."""
    if delta.ndim != 5 or math.prod(delta.shape[:2]) != images:
        raise ValueError(
            f"got a perturbation of shape {delta.shape} for {place}; expected [B F h w D] "
            f"with B * F = {images}"
        )
    return delta.reshape(images, *delta.shape[2:])
