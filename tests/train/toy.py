"""A captioner small enough to train in a test, and a stream of batches that needs no files."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.decoders import AttentionLSTM
from capjax.encoders import ConvNet
from capjax.train import optimizer as optimizers
from capjax.train import sharding
from capjax.train.loop import Loop
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig, Plan
from capjax.train.state import create_state
from capjax.train.step import compile_step, make_train_step

VOCABULARY, TOKENS, BATCH = 11, 6, 8


def make_net() -> CaptionNet:
    decoder = AttentionLSTM(
        vocab_size=VOCABULARY,
        features=8,
        hidden=12,
        attention=6,
        embedding=5,
        hidden_dropout=0.5,
        embedding_dropout=0.3,
        output_dropout=0.5,
    )
    encoder = ConvNet(widths=(8,), residuals=(0,))
    return CaptionNet(encoder, decoder, (127.5,) * 3, (127.5,) * 3)


def make_batch(position: int) -> dict[str, np.ndarray]:
    """Batch number `position`: a pure function of it, like the real pipeline's."""
    random = np.random.default_rng(position)
    lengths = random.integers(2, TOKENS + 1, BATCH).astype(np.int32)
    tokens = random.integers(3, VOCABULARY, (BATCH, TOKENS)).astype(np.int32)
    tokens[np.arange(TOKENS) >= lengths[:, None]] = 0
    return {
        "image": random.integers(0, 256, (BATCH, 8, 8, 3)).astype(np.uint8),
        "tokens": tokens,
        "lengths": lengths,
        "id": np.arange(BATCH, dtype=np.int32) + position * BATCH,
    }


def batches(position: int):
    while True:
        yield make_batch(position)
        position += 1


def data_mesh(devices: int) -> jax.sharding.Mesh:
    """Over the first devices; a test of several is marked `devices`."""
    assert jax.device_count() >= devices, f"{jax.device_count()} of {devices}: mark it `devices`"
    return sharding.data_mesh(jax.devices()[:devices])


OPTIMIZER = OptimizerConfig(learning_rate=3e-3, encoder_learning_rate=1e-3, clip_norm=5.0)


@functools.cache
def initial_state(steps: int):
    """Copied at each use: a step donates what it is given."""
    key = jax.random.key(0)
    batch = make_batch(0)
    variables = jax.jit(make_net().init)(rng.stream(key, "init"), batch["image"], batch["tokens"])
    optimizer = optimizers.make_optimizer(OPTIMIZER, steps)
    return create_state(variables, optimizer, train_encoder=True, key=key)


@functools.cache
def compiled_step(steps: int, devices: int):
    """One trace for all runs of the same length on as many devices."""
    optimizer = optimizers.make_optimizer(OPTIMIZER, steps)
    schedule = optimizers.make_schedule(OPTIMIZER, OPTIMIZER.learning_rate, steps)
    step = make_train_step(make_net(), optimizer, LossConfig(), schedule=schedule, grid=(4, 4))
    return compile_step(step, data_mesh(devices))


class ToyRun:
    """A whole run in a folder; `scores` maps a step to its validation score."""

    def __init__(self, folder: Path, *, steps: int = 8, devices: int = 1, **changes) -> None:
        self.mesh = data_mesh(devices)
        self.plan = Plan(
            steps=steps,
            steps_per_epoch=4,
            evaluate_every=changes.pop("evaluate_every", 4),
            metric="score",
            patience=changes.pop("patience", 0),
        )
        self.scores = changes.pop("scores", lambda step: float(step))
        self.batches = changes.pop("batches", batches)
        self.profile = changes.pop("profile", "")
        config = {"checkpoint_every": 3, "log_every": 2, "progress": False, "keep": 3}
        self.config = LoopConfig(batch_size=BATCH, **{**config, **changes})
        self.folder = folder
        self.best: list[int] = []
        self.scored: list[int] = []
        self.current = 0

    def state(self):
        state = jax.tree.map(jnp.copy, initial_state(self.plan.steps))
        return sharding.place_whole(state, sharding.replicated(self.mesh))

    def step(self):
        return compiled_step(self.plan.steps, self.mesh.size)

    def place(self, batch):
        return sharding.place_batch(batch, self.mesh)

    def run(self):
        """Trains, or resumes what is in the folder; `current` tells the score its step."""

        def score(variables):
            del variables
            self.scored.append(self.current)
            return {"score": self.scores(self.current)}

        def keep_best(variables, step, scores):
            del variables, scores
            self.best.append(step)

        compiled = self.step()

        def counted(state, batch):
            state, metrics = compiled(state, batch)
            self.current = int(state.step)
            return state, metrics

        counted.trace = compiled.trace  # the arithmetic of an update is counted from it
        loop = Loop(
            step=counted,
            batches=self.batches,
            score=score,
            keep_best=keep_best,
            plan=self.plan,
            config=self.config,
            mesh=self.mesh,
            workdir=self.folder,
            profile=self.profile,
        )
        state = self.state()
        return loop.run(state)


def host(tree):
    return jax.tree.map(np.asarray, tree)


def same(one, other) -> bool:
    """Bit-identical trees."""
    leaves = zip(jax.tree.leaves(host(one)), jax.tree.leaves(host(other)), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)
