"""The hot programs of capjax, at the sizes that are judged, as shapes: no weights, no images.

All of them multiply in bfloat16. Where a program's own arithmetic is not simply that of its
products, a formula counts it, so that another form of the same program is judged by the same
number.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from capjax.captioner import CaptionNet
from capjax.decoders import S2VT, AttentionLSTM
from capjax.encoders import ConvNet
from capjax.explainers.word_losses import ACCELERATOR_BUDGET, word_losses
from capjax.train import optimizer as optimizers
from capjax.train.objectives.losses import LossConfig
from capjax.train.optimizer import OptimizerConfig
from capjax.train.state import create_state
from capjax.train.step import make_train_step
from capjax.types import Features

HALF = jnp.bfloat16
VOCABULARY, DEPTH = 10_000, 2048
MEGA = 10**6


@dataclasses.dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
      name: what it is called on the command line.
      about: its sizes, in words.
      function: to compile.
      arguments: shapes of its arguments.
      operations: its own, a multiplication and an addition each; None: those of its products.
      moved: bytes that any form of it has to read and write in main memory.
      budget: most bytes of one intermediate buffer.
      turns: of loops whose end only data decide.
      donated: arguments whose memory the results take.
    """

    name: str
    about: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    operations: float | None
    moved: float
    budget: float
    turns: int | None = None
    donated: tuple[int, ...] = ()


def shape(*dims: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """An array that is not there."""
    return jax.ShapeDtypeStruct(dims, dtype)


def integers(*dims: int) -> jax.ShapeDtypeStruct:
    """Token ids, lengths and the like."""
    return shape(*dims, dtype=jnp.int32)


def size_of(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def grid_features(images: int, side: int, dtype: Any = jnp.float32) -> Any:
    """Features of `images` square maps."""
    return jax.eval_shape(Features.from_grid, shape(images, side, side, DEPTH, dtype=dtype))


def attention_lstm() -> AttentionLSTM:
    """The soft-attention decoder of 512/512/512."""
    return AttentionLSTM(VOCABULARY, DEPTH, hidden=512, attention=512, embedding=512, dtype=HALF)


def decoder_only(decoder: Any, features: Any, words: int) -> tuple[CaptionNet, Any]:
    """A net whose encoder is never called, and shapes of its decoder's variables."""
    net = CaptionNet(ConvNet(), decoder, (0.0,) * 3, (1.0,) * 3)
    tokens = integers(features.positions.shape[0], words)
    params = jax.eval_shape(decoder.init, jax.random.key(0), features, tokens)["params"]
    return net, {"params": {"decoder": params}}


def caption_guided(decoder: str, *, kl: bool) -> Program:
    """Losses of every word at every position, of 15 words."""
    words = 15
    if decoder == "s2vt":
        images, side, hidden, embedding = 32, 8, 1024, 300
        module: Any = S2VT(VOCABULARY, DEPTH, hidden=hidden, embedding=embedding, dtype=HALF)
        # a position: the descriptor's embedding, its gates; a word at it: gates, logits
        read = DEPTH * hidden + hidden * 4 * hidden
        write = hidden * 4 * hidden + hidden * VOCABULARY
        spoken = embedding * 4 * hidden
    else:
        images, side, hidden = 16, 14, 512
        module = attention_lstm()
        # a position: initial state; a word at it: context's gates, recurrent gates, output, logits
        read = DEPTH * 2 * hidden + DEPTH * 4 * hidden + DEPTH * hidden
        write = hidden * 4 * hidden + 2 * hidden * hidden + hidden * VOCABULARY
        spoken = hidden * 4 * hidden
    regions = side * side
    features = grid_features(images, side)
    net, variables = decoder_only(module, features, words)
    budget = ACCELERATOR_BUDGET

    def losses(variables: Any, features: Any, tokens: Any) -> Any:
        return word_losses(net, variables, features, tokens, kl=kl, budget=budget)

    return Program(
        name=f"caption_guided_{decoder}{'_kl' if kl else ''}",
        about=f"{images} images, {regions} regions, {words} words, H {hidden}, V {VOCABULARY}",
        function=losses,
        arguments=(variables, features, integers(images, 1, words)),
        operations=2.0 * images * (regions * (read + words * write) + words * spoken),
        moved=size_of((variables, features)),
        budget=budget / 4,
    )


def train_cached() -> Program:
    """A training step from cached features: 128 captions of 20 words."""
    captions, words, side = 128, 20, 14
    features = grid_features(1, side)
    net, variables = decoder_only(attention_lstm(), features, words)
    function, state = train_step(net, variables, side, train_encoder=False)
    batch = {
        "features": shape(captions, 1, side * side, DEPTH, dtype=jnp.float16),
        "tokens": integers(captions, words),
        "lengths": integers(captions),
        "id": integers(captions),
    }
    return Program(
        name="train_cached",
        about=f"{captions} captions of {words} words, {side * side}x{DEPTH} features, 512/512/512",
        function=function,
        arguments=(state, batch),
        operations=None,
        # features thrice a word: context forwards, its gradient, keys; weights and moments twice
        moved=size_of(batch["features"]) * 3 * words + 2 * size_of(state),
        budget=2 * size_of(batch["features"]),
        donated=(0,),
    )


def train_step(
    net: CaptionNet, variables: Any, side: int, *, train_encoder: bool
) -> tuple[Callable[..., Any], Any]:
    """The update, and the shapes of its state."""
    rate = 1e-4
    config = OptimizerConfig(
        learning_rate=rate, encoder_learning_rate=rate * train_encoder, schedule="constant"
    )
    optimizer = optimizers.make_optimizer(config, 1000)
    step = make_train_step(
        net,
        optimizer,
        LossConfig(doubly_stochastic=0.0),
        schedule=optimizers.make_schedule(config, rate, 1000),
        grid=(side, side),
    )
    create = functools.partial(create_state, optimizer=optimizer, train_encoder=train_encoder)
    state = jax.eval_shape(lambda tree: create(tree, key=jax.random.key(0)), variables)
    return step, state


PROGRAMS: dict[str, Callable[[], Program]] = {
    "caption_guided_s2vt": functools.partial(caption_guided, "s2vt", kl=False),
    "caption_guided_s2vt_kl": functools.partial(caption_guided, "s2vt", kl=True),
    "caption_guided_attention": functools.partial(caption_guided, "attention", kl=False),
    "caption_guided_attention_kl": functools.partial(caption_guided, "attention", kl=True),
    "train_cached": train_cached,
}
"""Name -> what makes it."""
