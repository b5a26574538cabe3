"""What runs on accelerators lowers for them: whole programs, on a machine that has none."""

import functools

import jax
import jax.numpy as jnp
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import S2VT, AttentionLSTM
from capjax.decoding import Beam, generate
from capjax.encoders import ConvNet
from capjax.inpaint.generator import Generator
from capjax.inpaint.inpainter import fill_holes
from capjax.train import optimizer as optimizers
from capjax.train.objectives.losses import LossConfig
from capjax.train.state import create_state
from capjax.train.step import make_train_step
from capjax.types import Features
from tests.train.toy import OPTIMIZER, make_batch

PLATFORMS = ("cuda", "tpu")
DECODERS = {
    "attention_lstm": functools.partial(AttentionLSTM, hidden=12, attention=6, embedding=5),
    "s2vt": functools.partial(S2VT, hidden=12, embedding=5, input_dropout=0.5),
}


def net(decoder, dtype):
    module = DECODERS[decoder](11, 8, dtype=dtype, hidden_dropout=0.5)
    return CaptionNet(ConvNet(widths=(8,), residuals=(0,)), module, (0.0,) * 3, (1.0,) * 3)


def shapes(module):
    batch = jax.tree.map(jnp.asarray, make_batch(0))
    variables = jax.eval_shape(module.init, jax.random.key(0), batch["image"], batch["tokens"])
    return variables, batch


def lowers(function, *arguments):
    """Traced once, it lowers for each of them."""
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS
    assert len(exported.mlir_module_serialized) > 1000


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_training_step_lowers(decoder, dtype):
    module = net(decoder, dtype)
    variables, batch = shapes(module)
    optimizer = optimizers.make_optimizer(OPTIMIZER, 10)
    schedule = optimizers.make_schedule(OPTIMIZER, OPTIMIZER.learning_rate, 10)
    create = functools.partial(create_state, optimizer=optimizer, train_encoder=True)
    # Keys are arguments of a training run as raw bits, which is how an exported program takes them.
    bits = jax.random.key_data(jax.random.key(0))

    def step(variables, bits, batch):
        state = create(variables, key=jax.random.wrap_key_data(bits))
        loss = LossConfig(lone_position=0.25)
        update = make_train_step(module, optimizer, loss, schedule=schedule, grid=(4, 4))
        state, metrics = update(state, batch)
        return state.params, metrics

    lowers(step, variables, bits, batch)


@pytest.mark.parametrize("decoder", DECODERS)
def test_beam_search_lowers(decoder):
    module = net(decoder, jnp.float32)
    variables, _ = shapes(module)

    def search(variables, maps):
        features = Features.from_grid(maps)
        found = generate(module, variables, features, Beam(width=3), eos=2, max_len=6)
        return found.tokens, found.scores

    lowers(search, variables, jax.ShapeDtypeStruct((2, 4, 4, 8), jnp.float32))


def test_the_inpainter_lowers():
    net = Generator(cnum=4, budget=1, dtype=jnp.bfloat16)
    images, masks = (jax.ShapeDtypeStruct((1, 16, 16, depth), jnp.float32) for depth in (3, 1))
    variables = jax.eval_shape(net.init, jax.random.key(0), images, masks)
    pixels = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.uint8)
    holes = jax.ShapeDtypeStruct((2, 16, 24), jnp.bool_)
    lowers(lambda *arrays: fill_holes(net, *arrays), variables, pixels, holes)
