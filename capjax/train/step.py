"""One update, as a pure function of (state, batch). Jitted once, where the loop is built."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from capjax.captioner import CaptionNet
from capjax.ops.barrier import compiler_options
from capjax.train import sharding
from capjax.train.objectives.clip_similarity import ClipSimilarity
from capjax.train.objectives.losses import LossConfig
from capjax.train.objectives.objective import Batch, Metrics, Objective, make_objective
from capjax.train.objectives.reinforce import next_baseline
from capjax.train.state import AVERAGE, BASELINE, TrainState

StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    net: CaptionNet,
    optimizer: optax.GradientTransformation,
    loss: LossConfig,
    *,
    schedule: optax.Schedule,
    grid: tuple[int, int],
    accumulate: int = 1,
    remat: bool = False,
    average_decay: float = 0.0,
    similarity: ClipSimilarity | None = None,
) -> StepFunction:
    """The update rule `(state, batch) -> (state, metrics)`, not yet jitted.

    A batch holds `tokens` [B T] int32, `lengths` [B] and `id` [B] (of the caption: dropout is drawn
    by id and step), and either `image` [B H W 3] on the 0..255 scale or `features` [B F P D] of a
    frozen encoder. Metrics are float32 scalars: `loss`, `cross_entropy` (nats a token),
    `accuracy` (share of tokens), `gradient_norm`, `update_norm` (of the change of the parameters),
    `learning_rate` and, with attention, `doubly_stochastic` (not yet weighted),
    `attention_entropy` (nats) and `attention_distance` (see `capjax.ops.attention_statistics`);
    with hard attention `caption_cost` and its `baseline`; others as `clip_similarity` and
    `supervised` say. For supervised attention a batch also holds `cells` [B T P] bool.

    Args:
      net: encoder and decoder.
      optimizer: of `state.params`.
      loss: what to minimise.
      schedule: the decoder's learning rate by updates done, for the metrics.
      grid: (h, w) of cached features.
      accumulate: parts of a batch whose gradients are computed one after the other, in a part of
        the memory, for the same update; only batch norm in training takes each part for the batch.
      remat: compute the encoder's activations again in the backward pass, block by block, instead
        of keeping them.
      average_decay: of the moving average of the parameters; 0: none.
      similarity: of `loss.clip_text`; its arrays are in `state.frozen`.
    """
    objective = make_objective(net, loss, grid=grid, remat=remat, similarity=similarity)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, metrics, batch_stats = gradients_of(objective, state, batch, accumulate)
        metrics["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        moving = dict(state.moving)
        if "caption_cost" in metrics:
            moving[BASELINE] = next_baseline(
                moving[BASELINE],
                metrics["caption_cost"],
                step=state.step,
                decay=loss.baseline_decay,
            )
        state = dataclasses.replace(state, batch_stats=batch_stats, moving=moving)
        state, norms = apply_gradients(state, gradients, optimizer, average_decay=average_decay)
        return state, {**metrics, **norms}

    return train_step


def apply_gradients(
    state: TrainState,
    gradients: Any,
    optimizer: optax.GradientTransformation,
    *,
    average_decay: float,
) -> tuple[TrainState, Metrics]:
    """The state after one update of its parameters and, where it keeps one, of their average.

    Also `gradient_norm` and `update_norm`: while both are finite, so are the parameters.
    """
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params: Any = optax.apply_updates(state.params, updates)
    moving = dict(state.moving)
    if AVERAGE in moving:
        moving[AVERAGE] = averaged(moving[AVERAGE], params, state.step, average_decay)
    state = dataclasses.replace(
        state, step=state.step + 1, params=params, opt_state=opt_state, moving=moving
    )
    norms = {
        "gradient_norm": optax.tree.norm(gradients),
        "update_norm": optax.tree.norm(updates),
    }
    return state, norms


def averaged(average: Any, params: Any, step: Array, decay: float) -> Any:
    """The moving average of parameters after an update: decay * average + (1 - decay) * params.

    The decay grows to its value as (1 + step) / (10 + step), so that the first weights, which are
    random, do not linger (TensorFlow's rule).
    """
    rate = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: rate * old + (1.0 - rate) * new, average, params)


def gradients_of(
    objective: Objective, state: TrainState, batch: Batch, parts: int
) -> tuple[Any, Metrics, dict[str, Any]]:
    """Gradients, metrics and batch statistics of a batch, computed in so many parts.

    `lengths` of the batch, of any shape, are the words that the objective may divide by.
    """
    gradient_of = jax.grad(objective, has_aux=True)
    words = jnp.sum(batch["lengths"]) / parts
    if parts == 1:
        gradients, (metrics, batch_stats) = gradient_of(state.params, state, batch, words)
        return gradients, metrics, batch_stats

    def add(carry: tuple[Any, Any], part: Batch) -> tuple[Any, Metrics]:
        total, batch_stats = carry
        own = dataclasses.replace(state, batch_stats=batch_stats)
        gradients, (metrics, batch_stats) = gradient_of(state.params, own, part, words)
        return (jax.tree.map(jnp.add, total, gradients), batch_stats), metrics

    start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
    (total, batch_stats), metrics = jax.lax.scan(add, start, in_parts(batch, parts))
    gradients = jax.tree.map(lambda leaf: leaf / parts, total)
    return gradients, jax.tree.map(jnp.mean, metrics), batch_stats


def in_parts(batch: Batch, parts: int) -> dict[str, Array]:
    """A batch's arrays [B …] cut into parts [parts, B / parts …], to be scanned over."""

    def split(array: Array) -> Array:
        # Every part takes rows from all over the batch: each device has its share of each.
        return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)

    return jax.tree.map(split, dict(batch))


def compile_step(step: StepFunction, mesh: jax.sharding.Mesh) -> StepFunction:
    """`step` jitted over the mesh: batch split along `data`, state replicated and donated."""
    whole, parts = sharding.replicated(mesh), sharding.split(mesh)
    return jax.jit(
        step,
        in_shardings=(whole, parts),
        out_shardings=(whole, whole),
        donate_argnums=0,
        compiler_options=compiler_options(mesh.devices.flat[0].platform),
    )
