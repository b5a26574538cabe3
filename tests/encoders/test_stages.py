"""Stages: their names, what is recorded of them, and derivatives by them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.encoders import (
    ENCODERS,
    VGG,
    ConvNet,
    EfficientNetV2,
    InceptionV3,
    MobileNet,
    ResNet,
    ViT,
    mobilenet,
    resnet,
)
from capjax.encoders.encoder import perturbed
from capjax.encoders.transformer import Block, layer_norm
from capjax.ops import chunks

TINY_VIT = {"width": 16, "layers": 2, "heads": 2, "mlp": 24, "size": (32, 32)}
SMALL = {
    "convnet": (ConvNet((8, 12, 16), (1, 0, 2)), ("stage0", "stage1", "stage2")),
    "efficientnet_v2": (
        EfficientNetV2(size="s", output="stage2"),
        ("stem", "stage1", "stage2"),
    ),
    "inception_v3": (InceptionV3(output="mixed_1"), ("stem", "mixed_0", "mixed_1")),
    "mobilenet": (MobileNet(), ("conv_0", *(f"block_{number}" for number in range(1, 12)))),
    "resnet": (ResNet(depth=18, stage=2), ("stem", "layer1", "layer2")),
    "vgg": (VGG(output="conv2_2"), ("conv1_1", "conv1_2", "conv2_1", "conv2_2")),
    "vit": (ViT(**TINY_VIT), ("embedding", "block_0", "block_1_norm1", "block_1")),
}


def captioner(encoder):
    return CaptionNet(encoder, LSTM(5, 8), (127.5,) * 3, (127.5,) * 3)


def photographs(*batch, side=32):
    return np.random.RandomState(1).randint(0, 256, (*batch, side, side, 3), np.uint8)


@functools.cache
def drawn(net, side=32):
    """Random variables under which no activation vanishes or saturates."""
    shapes = jax.eval_shape(
        functools.partial(net.init, method="encode"), jax.random.key(0), photographs(1, side=side)
    )
    assert set(shapes) <= {"params", "batch_stats"}
    random = np.random.default_rng(0)

    def draw(leaf):
        if leaf.ndim < 2:
            return jnp.asarray(random.uniform(0.5, 1.0, leaf.shape), jnp.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(scale * random.standard_normal(leaf.shape), jnp.float32)

    return jax.tree.map(draw, dict(shapes))


@functools.partial(jax.jit, static_argnames=("net", "train", "remat"))
def encode(net, variables, images, *, train=False, remat=False):
    return net.apply(variables, images, train=train, remat=remat, method="encode")


@pytest.mark.parametrize("name", ENCODERS)
def test_all_stages_are_recorded_in_the_order_of_the_network(name):
    """What is added to a stage shows there and in all later ones, and in none before."""
    encoder, stages = SMALL[name]
    assert encoder.stages() == stages
    plain = captioner(encoder)
    net, variables, images = plain.keeping(*stages), drawn(plain), photographs(2)
    assert jax.eval_shape(functools.partial(net.init, method="encode"), jax.random.key(0), images)
    untouched = encode(plain, variables, images)
    assert untouched.stages == {}
    recorded = encode(net, variables, images)
    assert set(recorded.stages) == set(stages)
    np.testing.assert_allclose(recorded.positions, untouched.positions, rtol=1e-5, atol=1e-5)
    if name not in ("convnet", "vit"):  # which add coordinates, and a norm
        last = recorded.stages[stages[-1]].reshape(recorded.positions.shape)
        np.testing.assert_allclose(recorded.positions, last, rtol=1e-5, atol=1e-5)
    zeros = {stage: jnp.zeros_like(value) for stage, value in recorded.stages.items()}
    before = encode(net, perturbed(variables, zeros), images)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), before, recorded
    )
    for number, stage in enumerate(stages):
        assert recorded.stages[stage].shape[:2] == (2, 1)
        deltas = {**zeros, stage: jnp.ones_like(zeros[stage])}
        after = encode(net, perturbed(variables, deltas), images)
        changed = [not np.array_equal(before.stages[s], after.stages[s]) for s in stages]
        assert changed == [other >= number for other in range(len(stages))], stage
        assert not np.array_equal(before.positions, after.positions)


@pytest.mark.parametrize(
    ("name", "stage", "shorter"),
    [
        ("convnet", "stage2", {"coordinates": False}),
        ("efficientnet_v2", "stage1", {"output": "stage1"}),
        ("inception_v3", "mixed_0", {"output": "mixed_0"}),
        ("resnet", "layer1", {"stage": 1, "pool": (8, 8)}),
        ("vgg", "conv1_2", {"output": "conv1_2"}),
    ],
)
def test_a_stage_is_the_map_of_the_network_that_ends_there(name, stage, shorter):
    encoder, stages = SMALL[name]
    net, images = captioner(encoder).keeping(*stages), photographs(2)
    variables = drawn(captioner(encoder))
    ends = encode(captioner(encoder.clone(**shorter)), variables, images)
    found = encode(net, variables, images).stages[stage]
    assert found.shape[2:4] == ends.grid
    expected = np.asarray(ends.positions).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_whole_networks_name_the_stages_that_people_know():
    assert ResNet().stages() == ("stem", "layer1", "layer2", "layer3", "layer4")
    assert VGG().stages()[-4:] == ("conv5_1", "conv5_2", "conv5_3", "conv5_4")
    assert InceptionV3().stages() == ("stem", *(f"mixed_{number}" for number in range(11)))
    assert MobileNet(output="block_11+13").stages()[-2:] == ("block_12", "block_13")
    assert EfficientNetV2(size="s").stages()[-2:] == ("stage6", "top_activation")
    assert ViT().stages()[:2] == ("embedding", "block_0")
    assert ViT().stages()[-3:] == ("block_10", "block_11_norm1", "block_11")


def test_tokens_on_the_grid_are_a_stage_beside_the_attention():
    net = captioner(ViT(**TINY_VIT, keep_attention=True)).keeping("block_0", "block_1")
    variables, images = drawn(captioner(ViT(**TINY_VIT))), photographs(2)
    features, seen = jax.jit(
        lambda v, x: net.apply(v, x, method="encode", capture_intermediates=True)
    )(variables, images)
    for name, stage in features.stages.items():
        tokens = seen["intermediates"]["encoder"][name]["__call__"][0][0]
        assert stage.shape == (2, 1, 2, 2, 16)
        np.testing.assert_array_equal(stage.reshape(2, 4, 16), tokens[:, 1:])
    assert features.attentions.shape == (2, 1, 2, 2, 5, 5)


def test_needs_add_up():
    net = captioner(ResNet(depth=18))
    one, other = net.keeping("layer2", "stem"), net.keeping("stem").keeping("layer2")
    assert one == other and hash(one) == hash(other)
    assert one.encoder.keep == ("stem", "layer2")
    assert one.keeping("stem") == one and one.keeping() == one != net


@pytest.mark.parametrize(
    ("encoder", "stage", "said"),
    [
        (
            ResNet(depth=18, stage=2),
            "layer3",
            "ResNet has no stage 'layer3' .* stem, layer1, layer2$",
        ),
        (VGG(output="conv1_2"), "conv2_1", "one of: conv1_1, conv1_2$"),
        (MobileNet(), "block_12", "block_10, block_11$"),
        (EfficientNetV2(output="stage1"), "top_activation", "one of: stem, stage1$"),
        (InceptionV3(output="mixed_0"), "mixed_1", "one of: stem, mixed_0$"),
        (ViT(**TINY_VIT), "block_2", "one of: embedding, block_0, block_1_norm1, block_1$"),
        (ConvNet(), "last", "one of: stage0, stage1, stage2$"),
    ],
)
def test_stages_that_do_not_exist_are_refused(encoder, stage, said):
    net = captioner(encoder)
    with pytest.raises(ValueError, match=said):
        net.keeping(stage)
    with pytest.raises(ValueError, match=f"(?m){said}"):
        encoder.clone(keep=(stage,)).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    with pytest.raises(ValueError, match=f"(?m){said}"):
        encode(net, perturbed(drawn(net), {stage: jnp.zeros((1, 1, 2, 2, 3))}), photographs(1))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((6, 1, 8, 8, 7), r"\(8, 8, 7\) \(h, w, D\) for stage 'stage0'; expected \(8, 8, 8\)"),
        ((3, 1, 8, 8, 8), r"\(3, 1, 8, 8, 8\) for stage 'stage0'; .* with B \* F = 6"),
        ((6, 8, 8, 8), r"\(6, 8, 8, 8\) for stage 'stage0'; expected \[B F h w D\]"),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_perturbations_of_another_shape_are_refused(shape, said, grouped, monkeypatch):
    monkeypatch.setattr(chunks, "chunking_pays", lambda: grouped)
    net = captioner(ConvNet((8,), (0,)))
    variables = perturbed(drawn(net, 16), {"stage0": jnp.zeros(shape)})
    with pytest.raises(ValueError, match=said):
        net.apply(variables, photographs(6, side=16), method="encode")


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=["images", "clips"])
def test_groups_and_clips_carry_stages(shape, grouped, monkeypatch):
    monkeypatch.setattr(chunks, "chunking_pays", lambda: grouped)
    net = captioner(ConvNet((8, 8), (0, 1))).keeping("stage0", "stage1")
    variables, images = drawn(net, 16), photographs(*shape, side=16)
    rows, frames = (*shape, 1)[:2]
    deltas = {
        "stage0": jax.random.normal(jax.random.key(1), (rows, frames, 8, 8, 8)),
        "stage1": jax.random.normal(jax.random.key(2), (rows, frames, 4, 4, 8)),
    }
    # A jit of its own: what is traced depends on the patch.
    found = jax.jit(lambda v: net.apply(v, images, method="encode"))(perturbed(variables, deltas))
    for row in range(rows):
        for frame in range(frames):
            alone = encode(
                net,
                perturbed(
                    variables, {s: v[row : row + 1, frame : frame + 1] for s, v in deltas.items()}
                ),
                images.reshape(rows, frames, 16, 16, 3)[row : row + 1, frame],
            )
            for stage, values in found.stages.items():
                assert values.shape == deltas[stage].shape
                np.testing.assert_allclose(
                    values[row, frame], alone.stages[stage][0, 0], rtol=1e-4, atol=1e-4
                )
            np.testing.assert_allclose(
                found.positions[row, frame], alone.positions[0, 0], rtol=1e-4, atol=1e-4
            )


def rest_of_resnet(variables, x):
    """layer2 of a ResNet-18."""
    for number, stride in enumerate((2, 1)):
        block = resnet._Block(128, stride, False, True, nn.relu, jnp.float32)
        own = {name: tree["encoder"][f"layer2_{number}"] for name, tree in variables.items()}
        x = block.apply(own, x)
    return x


def rest_of_mobilenet(variables, x):
    """block_11."""
    block = mobilenet._Separable(512, 1, nn.relu6, jnp.float32)
    return block.apply({"params": variables["params"]["encoder"]["block_11"]}, x)


def rest_of_vit(variables, cells, token):
    """block_1 and the last norm, of the tokens on the grid and the class token before them."""
    params = variables["params"]["encoder"]
    x = jnp.concatenate([token, cells.reshape(len(cells), -1, 16)], axis=1)
    x, _ = Block(2, 24).apply({"params": params["block_1"]}, x)
    x = layer_norm(1e-12, jnp.float32, "norm").apply({"params": params["norm"]}, x)
    return x[:, 1:].reshape(cells.shape)


@pytest.mark.parametrize(
    ("encoder", "stage", "rest", "grouped"),
    [
        (ResNet(depth=18, stage=2), "layer1", rest_of_resnet, True),
        (MobileNet(), "block_10", rest_of_mobilenet, False),
        (ViT(**TINY_VIT), "block_0", rest_of_vit, True),
    ],
    ids=["resnet", "mobilenet", "vit"],
)
def test_gradients_are_those_of_the_rest_of_the_network(encoder, stage, rest, grouped, monkeypatch):
    """Of a network cut by hand: the rest runs on the recorded stage."""
    net, images = captioner(encoder).keeping(stage), photographs(6)
    variables = drawn(captioner(encoder))
    if isinstance(encoder, ViT):
        monkeypatch.setattr(
            chunks, "chunking_pays", lambda: False
        )  # it would hide what is captured
        _, seen = net.apply(variables, images, method="encode", capture_intermediates=True)
        tokens = seen["intermediates"]["encoder"][stage]["__call__"][0][0]
        rest = functools.partial(rest, token=tokens[:, :1])
    monkeypatch.setattr(chunks, "chunking_pays", lambda: grouped)

    def score(positions):
        return jnp.sum(jnp.sin(3 * positions) * jnp.arange(6.0).reshape(6, 1, 1, 1))

    @jax.jit
    def by_stage(variables, delta):
        def of(delta):
            given = perturbed(variables, {stage: delta})
            features = net.apply(given, images, method="encode")
            return score(features.positions), features.stages[stage]

        return jax.grad(of, has_aux=True)(delta)

    shape = jax.eval_shape(lambda: net.apply(variables, images, method="encode")).stages[stage]
    slope, recorded = by_stage(variables, jnp.zeros(shape.shape))

    def by_hand(x):
        maps = rest(variables, x)
        return score(maps.reshape(6, 1, -1, maps.shape[-1]))

    expected = jax.jit(jax.grad(by_hand))(recorded[:, 0])
    assert float(jnp.abs(expected).max()) > 0.1
    np.testing.assert_allclose(
        slope[:, 0], expected, rtol=1e-3, atol=2e-4 * float(jnp.abs(expected).max())
    )


def test_gradients_are_finite_differences():
    """In double precision, along random directions, at both stages and away from zero."""
    with jax.enable_x64(True):
        net = captioner(ConvNet((8, 8), (0, 1), dtype=jnp.float64))
        variables, images = drawn(net, 16), photographs(2, side=16)
        random = np.random.default_rng(3)
        shapes = {"stage0": (2, 1, 8, 8, 8), "stage1": (2, 1, 4, 4, 8)}
        at, along = ({s: random.normal(size=n) for s, n in shapes.items()} for _ in range(2))

        @jax.jit
        def score(deltas):
            features = net.apply(perturbed(variables, deltas), images, method="encode")
            return jnp.sum(jnp.sin(features.positions))

        slope = jax.jit(jax.grad(score))(at)
        for stage in shapes:
            step = 1e-6 * along[stage]
            ahead, behind = (score({**at, stage: at[stage] + s}) for s in (step, -step))
            expected = float(ahead - behind) / 2e-6
            found = float(jnp.sum(slope[stage] * along[stage]))
            np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["vgg", "vit"])
def test_stages_inside_what_is_computed_again(name):
    """With `remat` the same records, and the same gradients by them."""
    encoder, stages = SMALL[name]
    stage = stages[-2]
    net, images = captioner(encoder).keeping(stage), photographs(2)
    variables = drawn(captioner(encoder))

    @functools.partial(jax.jit, static_argnames="remat")
    def slope(delta, *, remat):
        def of(delta):
            given = perturbed(variables, {stage: delta})
            features = net.apply(given, images, train=True, remat=remat, method="encode")
            return jnp.sum(jnp.sin(features.positions)), features.stages[stage]

        return jax.grad(of, has_aux=True)(delta)

    shape = encode(net, variables, images).stages[stage].shape
    kept, again = (slope(jnp.zeros(shape), remat=remat) for remat in (False, True))
    largest = float(jnp.abs(kept[0]).max())
    assert largest > 1e-3
    np.testing.assert_allclose(again[0], kept[0], rtol=1e-3, atol=1e-4 * largest)
    np.testing.assert_allclose(again[1], kept[1], rtol=1e-4, atol=1e-4)
