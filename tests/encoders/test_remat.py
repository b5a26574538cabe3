"""Activations that are computed again: the same gradients in less memory, for every encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import AttentionLSTM
from capjax.encoders import ENCODERS, ConvNet, ResNet
from capjax.train import sharding
from capjax.train.objectives.losses import LossConfig
from capjax.train.state import create_state
from capjax.train.step import compile_step, make_train_step

SMALL = {
    "convnet": {"residuals": (1, 0, 2)},
    "efficientnet_v2": {"size": "s", "output": "stage1", "freeze_norm": False},
    "inception_v3": {"output": "mixed_0", "freeze_norm": False},
    "mobilenet": {},
    "resnet": {"depth": 18, "stage": 2, "freeze_norm": False},
    "vgg": {"output": "conv2_2"},
    "vit": {"width": 16, "layers": 2, "heads": 2, "mlp": 24, "size": (32, 32)},
}


# Of 32 pixels one position would be left there: batch norms take two images of one for -1 and 1,
# and the least rounding shows.
SIDES = {"inception_v3": 64}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_gradients_are_those_of_kept_activations(name):
    """And so are the names of the variables, and the batch statistics."""
    encoder = ENCODERS[name](**SMALL[name])
    side = SIDES.get(name, 32)
    images = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype(np.float32)

    def initial(remat):
        return jax.eval_shape(
            functools.partial(encoder.init, train=True, remat=remat), jax.random.key(1), images
        )

    assert initial(True) == initial(False)
    random = np.random.default_rng(1)
    params, statistics = (
        jax.tree.map(lambda leaf: 0.3 * random.normal(size=leaf.shape).astype(np.float32), tree)
        for tree in (initial(True)["params"], initial(True).get("batch_stats", {}))
    )
    statistics = jax.tree.map(np.abs, statistics)  # some of them are variances

    @functools.partial(jax.jit, static_argnames="remat")
    def slope(params, statistics, *, remat):
        def loss(params):
            features, updated = encoder.apply(
                {"params": params, "batch_stats": statistics},
                images,
                train=True,
                remat=remat,
                mutable=["batch_stats"],
            )
            return jnp.mean(jnp.sin(features.positions)), updated

        return jax.grad(loss, has_aux=True)(params)

    kept, again = (slope(params, statistics, remat=remat) for remat in (False, True))
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(kept[0]))
    assert largest > 1e-4
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * largest)
    jax.tree.map(close, again, kept)


AS_USERS_COMPILE = [pytest.mark.slow, pytest.mark.optimised]


def step_memory(encoder, features, side, *, remat):
    """Bytes that one compiled update needs beside its state and batch of 8 images."""
    net = CaptionNet(
        encoder,
        AttentionLSTM(11, features, 8, attention=4, embedding=5),
        (127.5,) * 3,
        (127.5,) * 3,
    )
    batch = {
        "image": jnp.zeros((8, side, side, 3), jnp.uint8),
        "tokens": jnp.ones((8, 3), jnp.int32),
        "lengths": jnp.full(8, 3),
        "id": jnp.arange(8),
    }
    optimizer = optax.sgd(0.1)

    def start():
        variables = net.init(jax.random.key(0), batch["image"], batch["tokens"])
        return create_state(variables, optimizer, train_encoder=True, key=jax.random.key(1))

    step = make_train_step(
        net,
        optimizer,
        LossConfig(),
        schedule=optax.constant_schedule(0.1),
        grid=(1, 1),
        remat=remat,
    )
    compiled = compile_step(step, sharding.data_mesh(jax.devices()[:1]))
    memory = compiled.lower(jax.eval_shape(start), batch).compile().memory_analysis()
    return memory.temp_size_in_bytes


@pytest.mark.parametrize(
    ("encoder", "features", "side"),
    [
        (ConvNet(residuals=(0, 2, 2)), 64, 128),
        pytest.param(ResNet(depth=34, stage=2), 128, 128, marks=pytest.mark.slow),
        pytest.param(ResNet(depth=50), 2048, 128, marks=AS_USERS_COMPILE),
    ],
    ids=["convnet", "resnet34", "resnet50"],
)
def test_an_update_takes_clearly_less_memory(encoder, features, side):
    kept, again = (step_memory(encoder, features, side, remat=remat) for remat in (False, True))
    assert again < 0.7 * kept, f"{again / 1e6:.1f} of {kept / 1e6:.1f} MB"
