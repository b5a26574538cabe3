"""The count of an update's arithmetic, against closed forms and, without loops, against XLA's."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from capjax.decoders import AttentionLSTM
from capjax.train import sharding
from capjax.train.arithmetic import count_flops, peak_flops
from capjax.types import Features
from tests.train.toy import make_batch, make_net

B, D, LENGTH = 4, 32, 7
PRODUCT = 2 * B * D * D


def counted(function, *arguments):
    return count_flops(jax.jit(function).trace(*arguments).jaxpr)


def by_xla(function, *arguments):
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_batched_products():
    flops = counted(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), of(3, 4, 5), of(3, 5, 6))
    assert flops == 2 * 3 * 4 * 5 * 6


def rolled(w, x):
    return jax.lax.scan(lambda c, _: (jnp.tanh(c @ w), None), x, None, length=LENGTH)[0].sum()


def test_a_scan_counts_every_turn_which_xla_does_not():
    """The reason for a count of our own; one product forward, two backward."""
    assert counted(rolled, of(D, D), of(B, D)) == LENGTH * PRODUCT
    assert counted(jax.grad(rolled), of(D, D), of(B, D)) == 3 * LENGTH * PRODUCT
    elementwise = 10 * B * D
    assert by_xla(rolled, of(D, D), of(B, D)) < PRODUCT + elementwise


def test_remat_counts_what_it_computes_again():
    def loss(w, x):
        return jnp.sum((jnp.tanh(x @ w) @ w) ** 2)

    plain = counted(jax.value_and_grad(loss), of(D, D), of(B, D))
    again = counted(jax.value_and_grad(jax.checkpoint(loss)), of(D, D), of(B, D))
    assert (plain, again) == (5 * PRODUCT, 7 * PRODUCT)


def test_branches_loops_and_custom_gradients():
    @jax.custom_vjp
    def custom(x, w):
        return x @ w

    custom.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, d: (d @ kept[1].T, kept[0].T @ d))

    def loss(w, x):
        x = jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x)
        x = jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ w, x)
        return custom(x, w).sum()

    assert counted(loss, of(D, D), of(B, D)) == 4 * PRODUCT


def test_what_no_result_needs_is_not_counted():
    """A rule that gives both gradients, of which one is wanted."""

    @jax.custom_vjp
    def custom(w, x):
        return x @ w

    custom.defvjp(lambda w, x: (x @ w, (w, x)), lambda kept, d: (kept[1].T @ d, d @ kept[0].T))

    def loss(w, x):
        return custom(w, x).sum()

    assert counted(jax.value_and_grad(loss), of(D, D), of(B, D)) == 2 * PRODUCT
    assert counted(jax.value_and_grad(loss, (0, 1)), of(D, D), of(B, D)) == 3 * PRODUCT


def test_an_update_of_the_soft_attention_decoder_counts_its_layers():
    """A layer costs three products (forward, its weights, its input), those of given features two.

    Teacher forcing has a scan and a gradient of its own, so nothing here is plain.
    """
    size, depth, words, positions, vocabulary = 8, 12, 5, 6, 30
    decoder = AttentionLSTM(vocabulary, depth, hidden=size, attention=size, embedding=size)
    features = Features.from_grid(jnp.ones((B, 2, 3, depth)))
    tokens = jnp.ones((B, words), jnp.int32)
    variables = jax.eval_shape(decoder.init, jax.random.key(0), features, tokens)

    def loss(variables, features, tokens):
        hidden, _ = decoder.apply(variables, features, tokens)
        return decoder.apply(variables, hidden, method="readout").sum() ** 2

    rows = B * words
    layers = (
        2 * B * positions * depth * size  # keys
        + 2 * B * depth * 2 * size  # initial state
        + 3 * rows * size * 4 * size  # words to gates
        + 3 * rows * size * (size + 1 + 4 * size)  # state to query, scalar gate and gates
        + 3 * rows * depth * 4 * size  # context to gates
        + 3 * rows * (size + depth) * size  # deep output
        + 3 * rows * size * vocabulary
        + 3 * rows * positions * size  # scores
        + 2 * rows * positions * depth  # contexts
    )
    found = counted(jax.value_and_grad(loss), variables, features, tokens)
    assert found == pytest.approx(2 * layers, rel=0.02)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("groups", "dilation"), [(1, 1), (4, 1), (1, 2)])
def test_convolutions_and_their_gradients_are_counted_as_xla_does(
    stride, padding, groups, dilation
):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    x, kernel = of(2, 9, 12, 8), of(3, 3, 8 // groups, 16)
    out = jax.eval_shape(convolve, x, kernel)

    def to_image(d, kernel):
        return jax.linear_transpose(lambda x: convolve(x, kernel), x)(d)

    def to_kernel(d, x):
        return jax.linear_transpose(lambda kernel: convolve(x, kernel), kernel)(d)

    assert counted(convolve, x, kernel) == by_xla(convolve, x, kernel)
    assert counted(to_image, out, kernel) == by_xla(to_image, out, kernel)
    assert counted(to_kernel, out, x) == by_xla(to_kernel, out, x)


@pytest.mark.devices
def test_a_program_over_devices_is_counted_whole():
    mesh, whole, parts = sharding.data_mesh(), PartitionSpec(), PartitionSpec(sharding.AXIS)
    product = jax.shard_map(jnp.matmul, mesh=mesh, in_specs=(parts, whole), out_specs=parts)
    assert counted(product, of(8 * B, D), of(D, D)) == 8 * PRODUCT


@pytest.mark.parametrize(
    ("kind", "teraflops"),
    [
        ("NVIDIA H200", 989),
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("Tesla V100-SXM2-16GB", 125),
        ("TPU v5 lite", 197),
        ("TPU v5", 459),
        ("cpu", None),
        ("NVIDIA GeForce RTX 9090", None),
    ],
)
def test_peaks_by_device_kind(kind, teraflops):
    found = peak_flops(SimpleNamespace(device_kind=kind))
    assert found == (None if teraflops is None else pytest.approx(teraflops * 1e12))


@pytest.mark.devices  # one takes the batch in groups, of which XLA counts one
def test_an_encoder_is_mostly_what_is_counted():
    """XLA adds what is neither product nor convolution."""
    net, batch = make_net(), make_batch(0)
    variables = jax.eval_shape(net.init, jax.random.key(0), batch["image"], batch["tokens"])

    def encode(variables, images):
        return net.apply(variables, images, method="encode").positions

    images = jnp.asarray(batch["image"])
    share = counted(encode, variables, images) / by_xla(encode, variables, images)
    assert 0.8 < share <= 1
