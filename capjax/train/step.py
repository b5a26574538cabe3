"""One update, as a pure function of (state, batch). Jitted once, where the loop is built."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.ops import attention_statistics
from capjax.train import losses, sharding
from capjax.train.losses import LossConfig
from capjax.train.state import TrainState, join_variables
from capjax.types import Features

Batch = Mapping[str, Array]
Metrics = dict[str, Float[Array, ""]]
StepFunction = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    net: CaptionNet,
    optimizer: optax.GradientTransformation,
    loss: LossConfig,
    *,
    schedule: optax.Schedule,
    grid: tuple[int, int],
) -> StepFunction:
    """The update rule `(state, batch) -> (state, metrics)`, not yet jitted.

    A batch holds `tokens` [B T] int32, `lengths` [B] and `id` [B] (of the caption: dropout is drawn
    by id and step), and either `image` [B H W 3] on the 0..255 scale or `features` [B F P D] of a
    frozen encoder. Metrics are float32 scalars: `loss`, `cross_entropy` (nats a token),
    `accuracy` (share of tokens), `gradient_norm`, `learning_rate` and, with attention,
    `doubly_stochastic` (not yet weighted), `attention_entropy` (nats) and `attention_distance`
    (see `capjax.ops.attention_statistics`).

    Args:
      net: encoder and decoder.
      optimizer: of `state.params`.
      loss: what to minimise.
      schedule: the decoder's learning rate by updates done, for the metrics.
      grid: (h, w) of cached features.
    """

    def objective(
        params: dict[str, Any], state: TrainState, batch: Batch
    ) -> tuple[Float[Array, ""], tuple[Metrics, dict[str, Any]]]:
        variables = join_variables({**params, **state.frozen}, state.batch_stats)
        trained = "encoder" in params
        features, batch_stats = _training_features(net, variables, batch, grid, trained)
        step_key = jax.random.fold_in(rng.stream(state.key, "dropout"), state.step)
        keys = rng.per_example(step_key, batch["id"])
        if loss.lone_position:
            features = lone_positions(features, loss.lone_position, keys)
        forced: Any = net.apply(variables, features, batch["tokens"], keys, method="teacher_force")
        hidden, attention = forced
        logits: Any = net.apply(variables, hidden, method="readout")
        total, metrics = caption_loss(logits, attention, batch, loss)
        return total, (metrics, batch_stats)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        gradient_of = jax.grad(objective, has_aux=True)
        gradients, (metrics, batch_stats) = gradient_of(state.params, state, batch)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        state = dataclasses.replace(
            state,
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        return state, metrics

    return train_step


def lone_positions(features: Features, share: float, keys: Key[Array, " B"]) -> Features:
    """The features, of a share of the examples with one random valid position only.

    An example's draw is a function of its own key. `valid` hides the other positions.
    """
    shape = features.valid.shape[1:]

    def choose(key: Key[Array, ""], valid: Bool[Array, "F P"]) -> Bool[Array, "F P"]:
        lone, place = jax.random.split(rng.stream(key, "lone_position"))
        order = jnp.where(valid.reshape(-1), jax.random.uniform(place, (valid.size,)), -1.0)
        only = jax.nn.one_hot(jnp.argmax(order), valid.size, dtype=bool).reshape(shape)
        return jnp.where(jax.random.uniform(lone) < share, only & valid, valid)

    return dataclasses.replace(features, valid=jax.vmap(choose)(keys, features.valid))


def caption_loss(
    logits: Float[Array, "B T V"],
    attention: Float[Array, "B T F P"] | None,
    batch: Batch,
    loss: LossConfig,
) -> tuple[Float[Array, ""], Metrics]:
    """What is minimised, and what it is made of."""
    tokens = batch["tokens"]
    mask = losses.length_mask(batch["lengths"], tokens.shape[1])
    total = losses.cross_entropy(
        logits, tokens, mask, reduce=loss.reduce, label_smoothing=loss.label_smoothing
    )
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    # Not an argmax, which over 10,000 words takes a processor 75 times as long as a maximum.
    right = (chosen >= jnp.max(logits, axis=-1)) * mask
    metrics = {
        "cross_entropy": losses.cross_entropy(logits, tokens, mask),
        "accuracy": jnp.sum(right) / jnp.maximum(jnp.sum(mask), 1.0),
    }
    if attention is not None:
        term = losses.doubly_stochastic(
            attention, mask, reduce=loss.doubly_stochastic_reduce, tau=loss.tau
        )
        total = total + loss.doubly_stochastic * term
        still = jax.lax.stop_gradient(attention)
        metrics["doubly_stochastic"] = term
        metrics["attention_entropy"] = jnp.mean(attention_statistics.entropy(still, mask))
        metrics["attention_distance"] = jnp.mean(
            attention_statistics.mean_pairwise_distance(still, mask)
        )
    metrics["loss"] = total
    return total, metrics


def batch_features(
    net: CaptionNet, variables: Mapping[str, Any], batch: Batch, grid: tuple[int, int]
) -> Features:
    """Features of a batch of images, or of cached features as they come.

    Args:
      net: whose encoder sees the images.
      variables: of the net.
      batch: `image` [B H W 3] on the 0..255 scale, or `features` [B F P D].
      grid: (h, w) of cached features.
    """
    if "features" not in batch:
        seen: Any = net.apply(variables, batch["image"], method="encode")
        return seen
    positions = batch["features"].astype(jnp.float32)
    count, frames, cells, depth = positions.shape
    return Features(
        positions=positions,
        extra=jnp.zeros((count, 0, depth), jnp.float32),
        valid=jnp.ones((count, frames, cells), bool),
        grid=grid,
    )


def _training_features(
    net: CaptionNet, variables: dict[str, Any], batch: Batch, grid: tuple[int, int], trained: bool
) -> tuple[Features, dict[str, Any]]:
    """Features of a batch, and the batch statistics after seeing it."""
    batch_stats = variables.get("batch_stats", {})
    if not trained:
        return batch_features(net, variables, batch, grid), batch_stats
    seen: Any = net.apply(
        variables, batch["image"], train=True, method="encode", mutable=["batch_stats"]
    )
    features, updated = seen
    return features, updated.get("batch_stats", batch_stats)


def compile_step(step: StepFunction, mesh: jax.sharding.Mesh) -> StepFunction:
    """`step` jitted over the mesh: batch split along `data`, state replicated and donated."""
    whole, parts = sharding.replicated(mesh), sharding.split(mesh)
    return jax.jit(
        step, in_shardings=(whole, parts), out_shardings=(whole, whole), donate_argnums=0
    )
