"""Everything a training step reads and replaces, as one pytree."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Int, Key

AVERAGE = "params"
"""In `TrainState.moving`: the moving average of `params`."""

BASELINE = "baseline"
"""In `TrainState.moving`: the moving average of what a caption costs a hard captioner."""

CLIP = "clip"
"""In `TrainState.frozen`: what `clip_similarity` compares captions with, no part of the net."""


@struct.dataclass
class TrainState:
    """One point of a training run.

    Attributes:
      step: int32 [], updates done; also the position in the stream of batches.
      params: float32, what the optimiser updates: `{"decoder": …}` and, if trained, `"encoder"`;
        of two players (`capjax.train.adversarial`) `"generator"` and `"discriminator"`.
      frozen: arrays that are never updated, `"encoder"` and `CLIP`, those that the run has; not
        checkpointed.
      batch_stats: float32, running statistics of batch norm, or of spectral norm, by part.
      opt_state: the optimiser's moments, for `params` only; of two players, by player.
      key: typed key [], root of all random numbers of the run; never changes.
      moving: averages over updates, those of `AVERAGE` and `BASELINE` that the run needs.
    """

    step: Int[Array, ""]
    params: dict[str, Any]
    frozen: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: optax.OptState
    key: Key[Array, ""]
    moving: dict[str, Any] = struct.field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that are evaluated and saved, for `CaptionNet.apply`.

        They hold the averaged parameters where an average is kept.
        """
        return self.variables_with(self.moving.get(AVERAGE, self.params))

    def variables_with(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Variables of the net with `params` as what is updated."""
        frozen = {name: arrays for name, arrays in self.frozen.items() if name != CLIP}
        return join_variables({**params, **frozen}, self.batch_stats)


def join_variables(params: Mapping[str, Any], batch_stats: Mapping[str, Any]) -> dict[str, Any]:
    """Linen variables; a net without batch norm has no `batch_stats` collection."""
    variables: dict[str, Any] = {"params": dict(params)}
    if batch_stats:
        variables["batch_stats"] = dict(batch_stats)
    return variables


def create_state(
    variables: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    train_encoder: bool,
    key: Key[Array, ""],
    average: bool = False,
    baseline: bool = False,
    clip: Mapping[str, Any] | None = None,
) -> TrainState:
    """The state before the first update.

    Args:
      variables: of a `CaptionNet`, initialised or loaded.
      optimizer: see `capjax.train.optimizer.make_optimizer`.
      train_encoder: False leaves the encoder as it is, without optimiser state.
      key: root of the run's random numbers.
      average: keep a moving average of the parameters.
      baseline: keep a moving average of the cost of a caption.
      clip: arrays of `clip_similarity`, where the loss has it.
    """
    params = dict(variables["params"])
    frozen: dict[str, Any] = {}
    if not train_encoder and "encoder" in params:
        frozen["encoder"] = params.pop("encoder")
    if clip is not None:
        frozen[CLIP] = dict(clip)
    moving: dict[str, Any] = {}
    if average:
        moving[AVERAGE] = jax.tree.map(jnp.copy, params)
    if baseline:
        moving[BASELINE] = jnp.zeros(())
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen=frozen,
        batch_stats=dict(variables.get("batch_stats", {})),
        opt_state=optimizer.init(params),
        key=key,
        moving=moving,
    )
