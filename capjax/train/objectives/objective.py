"""What one update minimises, as a pure function of parameters, state and batch."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.ops import attention_statistics
from capjax.train.objectives import losses
from capjax.train.objectives.clip_similarity import ClipSimilarity
from capjax.train.objectives.losses import LossConfig
from capjax.train.objectives.reinforce import policy_terms
from capjax.train.objectives.supervised import supervised_attention
from capjax.train.state import BASELINE, CLIP, TrainState
from capjax.types import Features

Batch = Mapping[str, Array]
Metrics = dict[str, Float[Array, ""]]
Objective = Callable[
    [dict[str, Any], TrainState, Batch, Array],
    tuple[Float[Array, ""], tuple[Metrics, dict[str, Any]]],
]

TEXT = ("tokens", "lengths", "cells")
"""What a batch may hold of captions, beside their images and numbers."""


def make_objective(
    net: CaptionNet,
    loss: LossConfig,
    *,
    grid: tuple[int, int],
    remat: bool = False,
    similarity: ClipSimilarity | None = None,
) -> Objective:
    """Makes `(params, state, batch, words) -> loss, (metrics, batch statistics)`.

    See `make_train_step` for the batch and the metrics. The cross-entropy of "token" is divided by
    `words`: the number of tokens of the batch, or a part's share of it.

    Args:
      net: encoder and decoder.
      loss: what to minimise.
      grid: (h, w) of cached features.
      remat: compute the encoder's activations again in the backward pass, block by block, instead
        of keeping them.
      similarity: of `loss.clip_text`; None: not compared.
    """
    hard = getattr(net.decoder, "hard", False)

    def objective(
        params: dict[str, Any], state: TrainState, batch: Batch, words: Array
    ) -> tuple[Float[Array, ""], tuple[Metrics, dict[str, Any]]]:
        variables = state.variables_with(params)
        trained = "encoder" in params
        features, batch_stats = _training_features(net, variables, batch, grid, trained, remat)
        step_key = jax.random.fold_in(rng.stream(state.key, "dropout"), state.step)
        keys = rng.per_example(step_key, batch["id"])
        if loss.lone_position:
            features = lone_positions(features, loss.lone_position, keys)
        text: Batch = {name: batch[name] for name in TEXT if name in batch}
        if hard and loss.samples > 1:
            features, text, keys = _repeated(features, text, keys, loss.samples)
            words = words * loss.samples
        tokens = text["tokens"]
        if loss.scheduled_sampling:
            share = scheduled_share(loss, state.step)
            tokens = scheduled_tokens(net, variables, features, tokens, share, keys)
        forced: Any = net.apply(
            variables, features, tokens, keys, method="teacher_force", mutable=["selection"]
        )
        (hidden, attention), selection = forced
        logits: Any = net.apply(variables, hidden, method="readout")
        total, metrics = caption_loss(logits, attention, text, loss, words)
        if hard:
            total, metrics = _add_policy(
                total, metrics, attention, selection, logits, text, loss, state
            )
        if similarity is not None:
            arrays, lengths = state.frozen[CLIP], text["lengths"]
            total, added = similarity.averaged(
                total, arrays, logits, text["tokens"], lengths, weight=loss.lambda_clip
            )
            metrics = {**metrics, **added}
        return total, (metrics, batch_stats)

    return objective


def _repeated(
    features: Features, text: Batch, keys: Key[Array, " B"], samples: int
) -> tuple[Features, Batch, Key[Array, " N"]]:
    """Every example `samples` times, each with a key of its own."""

    def repeat(array: Array) -> Array:
        return jnp.repeat(array, samples, axis=0)

    own = jax.vmap(lambda key: rng.per_example(key, jnp.arange(samples)))(keys)
    return jax.tree.map(repeat, features), jax.tree.map(repeat, text), own.reshape(-1)


def _add_policy(
    total: Float[Array, ""],
    metrics: Metrics,
    attention: Float[Array, "B T F P"],
    selection: Mapping[str, Any],
    logits: Float[Array, "B T V"],
    text: Batch,
    loss: LossConfig,
    state: TrainState,
) -> tuple[Float[Array, ""], Metrics]:
    """The loss with the terms of hard attention, and their figures."""
    found = selection["selection"]["decoder"]
    mask = losses.length_mask(text["lengths"], text["tokens"].shape[1])
    costs = losses.caption_costs(logits, text["tokens"], mask, reduce=loss.reduce)
    baseline = jnp.where(state.step == 0, jnp.mean(costs), state.moving[BASELINE])
    policy, entropy = policy_terms(
        attention, found["chosen"][0], found["expected"][0], mask, costs, baseline
    )
    total = total + loss.lambda_r * jnp.mean(policy) - loss.lambda_e * jnp.mean(entropy)
    figures = {"caption_cost": jnp.mean(costs), "baseline": baseline, "loss": total}
    return total, {**metrics, **figures}


def scheduled_share(loss: LossConfig, step: Int[Array, ""]) -> Float[Array, ""]:
    """Share of words that are read as the model's own, after so many updates."""
    full = jnp.asarray(loss.scheduled_sampling, jnp.float32)
    if not loss.scheduled_sampling_steps:
        return full
    return full * jnp.minimum(step / loss.scheduled_sampling_steps, 1.0)


def scheduled_tokens(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    share: Float[Array, ""],
    keys: Key[Array, " B"],
) -> Int[Array, "B T"]:
    """Tokens to be read, a share of them drawn from the model's own distribution.

    Scheduled sampling (Bengio et al. 2015) in its parallel form (Duckworth et al. 2019): a word is
    drawn given the true words before it, for all words in one pass; the original gives it those
    that were drawn, one pass a word. No gradient flows into the draws.
    """
    forced: Any = net.apply(variables, features, tokens, keys, method="teacher_force")
    logits: Any = net.apply(variables, forced[0], method="readout")
    by_word = rng.per_position(rng.child(keys, "scheduled"), tokens.shape[1])

    def read(key: Key[Array, ""], own: Float[Array, " V"], true: Array) -> Array:
        replaced, word = jax.random.split(key)
        drawn = jax.random.categorical(word, own).astype(true.dtype)
        return jnp.where(jax.random.uniform(replaced) < share, drawn, true)

    return jax.vmap(jax.vmap(read))(by_word, jax.lax.stop_gradient(logits), tokens)


def lone_positions(features: Features, share: float, keys: Key[Array, " B"]) -> Features:
    """Hides all but one random valid position of a share of the examples.

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
    words: Array | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """What is minimised, and what it is made of; `words` as in `losses.cross_entropy`."""
    tokens = batch["tokens"]
    mask = losses.length_mask(batch["lengths"], tokens.shape[1])
    total = losses.cross_entropy(
        logits,
        tokens,
        mask,
        reduce=loss.reduce,
        label_smoothing=loss.label_smoothing,
        words=words,
    )
    chosen = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    # Not an argmax, which over 10,000 words takes a processor 75 times as long as a maximum.
    right = (chosen >= jnp.max(logits, axis=-1)) * mask
    metrics = {
        "cross_entropy": losses.cross_entropy(logits, tokens, mask, words=words),
        "accuracy": jnp.sum(right) / jnp.maximum(jnp.sum(mask) if words is None else words, 1.0),
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
    if loss.lambda_supervised:
        term, correctness = supervised_attention(attention, batch["cells"])
        total = total + loss.lambda_supervised * term
        metrics["supervised_attention"] = term
        metrics["attention_correctness"] = correctness
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
    net: CaptionNet,
    variables: dict[str, Any],
    batch: Batch,
    grid: tuple[int, int],
    trained: bool,
    remat: bool,
) -> tuple[Features, dict[str, Any]]:
    """Features of a batch, and the batch statistics after seeing it."""
    batch_stats = variables.get("batch_stats", {})
    if not trained:
        return batch_features(net, variables, batch, grid), batch_stats

    seen: Any = net.apply(
        variables, batch["image"], train=True, remat=remat, method="encode", mutable=["batch_stats"]
    )
    features, updated = seen
    return features, updated.get("batch_stats", batch_stats)
