"""Self-critical sequence training (Rennie et al. 2017): the reward of whole captions is maximised.

For each image K captions are drawn from the model; each is compared with a baseline b that does
not depend on it, and made likelier by as much as its reward is better:

    loss = - mean_k (r_k - b_k) log p(caption_k)

b is the reward of the greedy caption (the paper) or the mean reward of the other K - 1 draws (Luo
2020, arXiv 2003.09971), which needs no greedy pass.

Captions are drawn, and their probabilities differentiated, without dropout, by running batch
statistics and without the ids that are never written, so that the gradient is that of the expected
reward.

Batches are those of cross-entropy, of captions: an epoch meets an image once for each of its
captions, whose words are not read.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.train import sharding
from capjax.train.objectives import losses
from capjax.train.objectives.objective import Batch, Metrics, batch_features
from capjax.train.state import TrainState
from capjax.train.step import apply_gradients, gradients_of
from capjax.types import Features

BASELINES = ("greedy", "mean")
REWARDS = ("CIDEr", "CLIP")
REFERENCES = ("mean", "max")

Draw = Callable[[Any, Features, Key[Array, " B"]], tuple[Int[Array, "B K T"], Int[Array, "B K"]]]
"""`draw(variables, features, keys) -> tokens, lengths`, end tokens included; pure."""

Reward = Callable[
    [Int[np.ndarray, " B"], Int[np.ndarray, "B K T"], Int[np.ndarray, "B K"]],
    Float[np.ndarray, "B K"],
]
"""`reward(ids, tokens, lengths)`: of captions of the images of the captions `ids`; on the host."""


@dataclasses.dataclass
class SelfCriticalConfig:
    """Training on the reward of drawn captions, as a stage after cross-entropy.

    Attributes:
      samples: captions drawn an image, K; 0: no such stage.
      baseline: "greedy" or "mean" (of the other draws; needs 2 samples).
      reward: "CIDEr" (CIDEr-D by the document frequencies of the training captions) or "CLIP"
        (similarity of the text embedding to those of the references).
      end_token: whether the end token counts as a word of CIDEr. Without it a captioner learns to
        stop anywhere ("a man riding a").
      clip_text: of "CLIP", a folder with a CLIP as transformers keeps it, or "hf:owner/name".
      clip_references: of "CLIP", "mean" or "max" of the similarities to an image's references.
      hallucination_penalty: what every object word costs that names nothing in the image's boxes
        (`data.boxes`) or references, in units of the reward; 0: nothing.
    """

    samples: int = 0
    baseline: str = "mean"
    reward: str = "CIDEr"
    end_token: bool = True
    clip_text: str = ""
    clip_references: str = "mean"
    hallucination_penalty: float = 0.0

    def check(self) -> None:
        """Raises ValueError for a value that has no meaning."""
        if self.samples < 0:
            raise ValueError(f"self_critical.samples is {self.samples}; expected 0 or more")
        if self.hallucination_penalty < 0:
            raise ValueError(
                f"self_critical.hallucination_penalty is {self.hallucination_penalty}; expected 0 "
                "or more"
            )
        if self.hallucination_penalty and not self.samples:
            raise ValueError(
                "self_critical.hallucination_penalty takes from the reward of drawn captions, and "
                "self_critical.samples is 0; set it to 2 or more, or the penalty to 0"
            )
        for name, value, known in (
            ("baseline", self.baseline, BASELINES),
            ("reward", self.reward, REWARDS),
            ("clip_references", self.clip_references, REFERENCES),
        ):
            if value not in known:
                raise ValueError(
                    f"unknown self_critical.{name} {value!r}; choose one of: {', '.join(known)}"
                )
        if (self.reward == "CLIP") != bool(self.clip_text):
            raise ValueError(
                f"self_critical.reward is {self.reward!r} and self_critical.clip_text "
                f"{self.clip_text!r}; the reward 'CLIP' needs a CLIP, and no other does: "
                "self_critical.clip_text=hf:openai/clip-vit-base-patch32, or a folder"
            )
        if self.samples == 1 and self.baseline == "mean":
            raise ValueError(
                "self_critical.baseline='mean' compares a caption with the others of its image; "
                "set self_critical.samples to 2 or more, or the baseline to 'greedy'"
            )


def leave_one_out(rewards: Float[np.ndarray, "B K"]) -> Float[np.ndarray, "B K"]:
    """The mean reward of the other captions of each image."""
    count = rewards.shape[1]
    return (rewards.sum(axis=1, keepdims=True) - rewards) / (count - 1)


def sequence_loss(
    logits: Float[Array, "N T V"],
    tokens: Int[Array, "N T"],
    lengths: Int[Array, " N"],
    advantages: Float[Array, " N"],
    *,
    reduce: str,
    suppress: tuple[int, ...] = (),
    words: Array | None = None,
) -> Float[Array, ""]:
    """- mean of advantage * log p over captions ("caption") or over all their tokens ("token").

    The two differ by one factor for all captions of a batch, captions over tokens. It depends on
    what was drawn: "caption" is the gradient of the expected reward, "token" is that only nearly,
    at another learning rate.

    Args:
      logits: of the captions.
      tokens, lengths: the captions.
      advantages: reward less baseline.
      reduce: "caption" or "token".
      suppress: ids that were never drawn; they have no probability here either.
      words: what "token" divides by; the number of tokens by default.
    """
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if suppress:
        logits = logits.at[..., jnp.asarray(suppress)].set(-jnp.inf)
    mask = losses.length_mask(lengths, tokens.shape[1])
    nats = losses.token_losses(logits, tokens)
    weighed = jnp.where(mask > 0, nats, 0.0) * advantages[:, None]
    if reduce == "token":
        return jnp.sum(weighed) / jnp.maximum(jnp.sum(mask) if words is None else words, 1.0)
    return jnp.mean(jnp.sum(weighed, axis=1))


@dataclasses.dataclass(frozen=True)
class SelfCriticalStep:
    """The update: captions are drawn on the devices, rewarded on the host, and learnt from there.

    Attributes:
      sample: compiled, `(state, batch) -> ids, drawn and greedy captions`.
      update: compiled, `(state, batch, drawn) -> (state, metrics)`.
      config: settings.
      reward: of captions.
      sharding: of what is drawn.
    """

    sample: Any
    update: Any
    config: SelfCriticalConfig
    reward: Reward
    sharding: jax.sharding.NamedSharding

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """The state after an update, and its metrics, with what the reward took of the time."""
        batch = _images(batch)
        found = jax.device_get(self.sample(state, batch))
        tokens, lengths = found["drawn"]
        begin = time.perf_counter()
        rewards = self.reward(found["id"], tokens, lengths)
        if self.config.baseline == "greedy":
            baseline = self.reward(found["id"], *found["greedy"])
        else:
            baseline = leave_one_out(rewards)
        seconds = time.perf_counter() - begin
        drawn = _drawn(tokens, lengths, rewards - baseline)
        state, metrics = self.update(state, batch, sharding.place_whole(drawn, self.sharding))
        measured = {
            "reward": rewards.mean(),
            "reward_baseline": baseline.mean(),
            "advantage": np.abs(rewards - baseline).mean(),
            "caption_length": lengths.mean(),
            "reward_seconds": seconds,
        }
        return state, {**metrics, **{name: np.float32(v) for name, v in measured.items()}}

    def lower(self, state: TrainState, batch: Batch) -> list[Any]:
        """Both programs of an update, for arrays of these shapes."""
        batch = _images(batch)
        found = jax.eval_shape(self.sample, state, batch)
        tokens, lengths = found["drawn"]
        shapes = {"tokens": tokens, "lengths": lengths, "advantages": lengths}
        drawn = {
            name: jax.ShapeDtypeStruct(
                leaf.shape,
                np.float32 if name == "advantages" else leaf.dtype,
                sharding=self.sharding,
            )
            for name, leaf in shapes.items()
        }
        return [self.sample.lower(state, batch), self.update.lower(state, batch, drawn)]

    def trace(self, state: TrainState, batch: Batch) -> Any:
        """An update as one trace, for its arithmetic: all but the reward.

        Drawing is a loop of unknown length, of which `count_flops` counts one word: the rates in
        the log are those of learning, and too low by what drawing takes.
        """

        def whole(state: TrainState, batch: Batch) -> Any:
            found = self.sample(state, batch)
            tokens, lengths = found["drawn"]
            return found, self.update(
                state, batch, _drawn(tokens, lengths, jnp.zeros(lengths.shape))
            )

        return jax.jit(whole).trace(state, _images(batch))


def _images(batch: Batch) -> Batch:
    return {name: value for name, value in batch.items() if name not in ("tokens", "lengths")}


def _drawn(tokens: Any, lengths: Any, advantages: Any) -> dict[str, Any]:
    return {"tokens": tokens, "lengths": lengths, "advantages": advantages.astype(np.float32)}


def make_self_critical_step(
    net: CaptionNet,
    optimizer: optax.GradientTransformation,
    config: SelfCriticalConfig,
    *,
    draw: Draw,
    greedy: Draw,
    reward: Reward,
    reduce: str,
    suppress: tuple[int, ...],
    schedule: optax.Schedule,
    grid: tuple[int, int],
    mesh: Mesh,
    accumulate: int = 1,
    average_decay: float = 0.0,
) -> SelfCriticalStep:
    """The update `(state, batch) -> (state, metrics)`: two compiled calls around the reward.

    The tokens of the batch are not read: its images are, and its `id`s. Every process rewards all
    captions, so that all have the same numbers without talking.

    Args:
      net: encoder and decoder.
      optimizer: of `state.params`.
      config: settings.
      draw: K captions an image, drawn.
      greedy: one an image.
      reward: of captions.
      reduce: see `sequence_loss`.
      suppress: ids that `draw` never writes.
      schedule: the decoder's learning rate by updates done, for the metrics.
      grid: (h, w) of cached features.
      mesh: devices.
      accumulate: parts of a batch whose gradients are computed one after the other, for the same
        update; its captions are drawn at once.
      average_decay: of the moving average of the parameters; 0: none.
    """
    whole, parts = sharding.replicated(mesh), sharding.split(mesh)

    def sample(state: TrainState, batch: Batch) -> dict[str, Any]:
        variables = state.variables_with(state.params)
        features = batch_features(net, variables, batch, grid)
        step_key = jax.random.fold_in(rng.stream(state.key, "self_critical"), state.step)
        keys = rng.per_example(step_key, batch["id"])
        found = {"id": batch["id"], "drawn": draw(variables, features, keys)}
        if config.baseline == "greedy":
            found["greedy"] = greedy(variables, features, keys)
        return found

    def objective(
        params: dict[str, Any], state: TrainState, batch: Batch, words: Array
    ) -> tuple[Float[Array, ""], tuple[Metrics, dict[str, Any]]]:
        variables = state.variables_with(params)
        features = batch_features(net, variables, batch, grid)
        count = batch["tokens"].shape[1]
        repeated = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), features)
        tokens = batch["tokens"].reshape(-1, batch["tokens"].shape[-1])
        forced: Any = net.apply(variables, repeated, tokens, method="teacher_force")
        logits: Any = net.apply(variables, forced[0], method="readout")
        flat = batch["lengths"].reshape(-1), batch["advantages"].reshape(-1)
        loss = sequence_loss(logits, tokens, *flat, reduce=reduce, suppress=suppress, words=words)
        return loss, ({"loss": loss}, state.batch_stats)

    def update(
        state: TrainState, batch: Batch, drawn: Mapping[str, Array]
    ) -> tuple[TrainState, Metrics]:
        gradients, metrics, _ = gradients_of(objective, state, {**batch, **drawn}, accumulate)
        metrics["learning_rate"] = jnp.asarray(schedule(state.step), jnp.float32)
        state, norms = apply_gradients(state, gradients, optimizer, average_decay=average_decay)
        return state, {**metrics, **norms}

    compiled_sample = jax.jit(sample, in_shardings=(whole, parts), out_shardings=whole)
    compiled_update = jax.jit(
        update, in_shardings=(whole, parts, parts), out_shardings=(whole, whole), donate_argnums=0
    )

    return SelfCriticalStep(compiled_sample, compiled_update, config, reward, parts)
