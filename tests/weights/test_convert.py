"""Strictness, both ways: every key is used once, and each culprit is named."""

import functools
import json
import struct
import zipfile

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from capjax.captioner import SHIPPED, load_captioner
from capjax.encoders import ConvNet, MobileNet, ResNet
from capjax.weights import Rule, Table, convert, load_encoder_weights, read_weights
from capjax.weights.tables.mobilenet import mobilenet_layouts
from capjax.weights.tables.resnet import resnet_layouts
from tests.golden import resnet_torchvision as golden

LAYOUTS = json.loads(golden.LAYOUTS.read_text())


def zeros_like_torchvision(depth):
    """torchvision's keys and shapes without their memory."""
    return {
        name: np.broadcast_to(np.float32(0), shape) for name, shape in LAYOUTS[str(depth)].items()
    }


@functools.cache
def expected_of(encoder, side=64):
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = traverse_util.flatten_dict(
        jax.eval_shape(encoder.init, jax.random.key(0), images), sep="/"
    )
    return {name: tuple(leaf.shape) for name, leaf in shapes.items()}


def fit(source, encoder):
    return convert(source, resnet_layouts(encoder), expected_of(encoder), origin="a file")


@pytest.mark.parametrize("depth", golden.DEPTHS)
def test_every_torchvision_key_is_used(depth):
    encoder = ResNet(depth=depth)
    result = fit(zeros_like_torchvision(depth), encoder)
    assert set(result) == set(expected_of(encoder))
    ignored = [
        name
        for name in LAYOUTS[str(depth)]
        if name.startswith("fc.") or name.endswith(".num_batches_tracked")
    ]
    assert len(result) + len(ignored) == len(LAYOUTS[str(depth)])


def test_later_layers_are_ignored_only_when_the_encoder_stops_before():
    encoder = ResNet(depth=18, stage=3)
    assert set(fit(zeros_like_torchvision(18), encoder)) == set(expected_of(encoder))


def test_missing_and_left_over_are_both_listed():
    source = zeros_like_torchvision(18)
    source["layer1.0.convolution.weight"] = source.pop("layer1.0.conv1.weight")
    with pytest.raises(ValueError) as failure:
        fit(source, ResNet(depth=18))
    assert "missing: layer1.0.conv1.weight (ours: params/layer1_0/conv1/kernel)" in str(
        failure.value
    )
    assert "left over: layer1.0.convolution.weight" in str(failure.value)
    assert "a file" in str(failure.value)


@pytest.mark.parametrize(
    ("held", "wanted", "said"),
    [
        (34, 18, "left over: layer1.2"),
        (18, 34, r"missing: layer1.2.bn1.running_mean \(ours: batch_stats/layer1_2/bn1/mean\)"),
        (101, 50, "left over: layer3.10"),
        (18, 50, "wrong: layer1.0.conv1.weight has shape"),
    ],
)
def test_another_depth_fails(held, wanted, said):
    with pytest.raises(ValueError, match=said):
        fit(zeros_like_torchvision(held), ResNet(depth=wanted))


def test_shape_dtype_and_nan_are_named():
    source = {"a": np.ones((2, 3), np.float32)}
    table = Table([Rule("(.*)", r"params/\1")])
    with pytest.raises(ValueError, match=r"a has shape \(2, 3\) in our layout; expected \(3, 2\)"):
        convert(source, [table], {"params/a": (3, 2)}, origin="x")
    with pytest.raises(ValueError, match="a has dtype int64"):
        convert({"a": np.ones(2, np.int64)}, [table], {"params/a": (2,)}, origin="x")
    with pytest.raises(ValueError, match="a holds values that are not finite"):
        convert({"a": np.array([np.nan])}, [table], {"params/a": (1,)}, origin="x")


def test_one_name_from_two_keys_fails():
    table = Table([Rule("first|second", "params/a")])
    source = {"first": np.ones(1, np.float32), "second": np.ones(1, np.float32)}
    with pytest.raises(ValueError, match=r"used twice: params/a \(from first and second\)"):
        convert(source, [table], {"params/a": (1,)}, origin="x")


def test_overlapping_rules_fail():
    table = Table([Rule("a.*", "params/a"), Rule(".*b", "params/b")])
    with pytest.raises(ValueError, match="matches several rules"):
        convert({"ab": np.ones(1, np.float32)}, [table], {"params/a": (1,)}, origin="x")


def test_torch_layout_is_transposed():
    kernel = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)  # O I H W
    table = Table([Rule("w", "params/kernel", "OIHW")])
    result = convert({"w": kernel}, [table], {"params/kernel": (5, 7, 3, 2)}, origin="x")
    assert result["params/kernel"][4, 6, 2, 1] == kernel[1, 2, 4, 6]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_become_float32(tmp_path, dtype):
    save_file({"w": np.array([0.5, -2.0], dtype)}, tmp_path / "w.safetensors")
    table = Table([Rule("w", "params/w")])
    source = read_weights(tmp_path / "w.safetensors")
    result = convert(source, [table], {"params/w": (2,)}, origin="x")["params/w"]
    assert result.dtype == np.float32
    assert result.tolist() == [0.5, -2.0]


def mobilenet_file(path, encoder):
    arrays = {
        name.removeprefix("params/"): np.zeros(shape, np.float32)
        for name, shape in expected_of(encoder).items()
    }
    np.savez(path, **arrays)


def test_mobilenet_file_serves_both_outputs(tmp_path):
    path = tmp_path / "weights.npz"
    mobilenet_file(path, MobileNet(output="block_13"))
    for output in ("block_11", "block_13"):
        encoder = MobileNet(output=output)
        variables = load_encoder_weights(encoder, path)
        assert list(variables) == ["params"]
        flat = traverse_util.flatten_dict(variables, sep="/")
        assert {name: leaf.shape for name, leaf in flat.items()} == expected_of(encoder)


def test_a_file_of_the_shorter_net_lacks_the_longer(tmp_path):
    path = tmp_path / "weights.npz"
    mobilenet_file(path, MobileNet(output="block_11"))
    with pytest.raises(
        ValueError,
        match=r"(?s)weights.npz.*MobileNet.*missing: block_12/depthwise/bias \(ours: params/",
    ):
        load_encoder_weights(MobileNet(output="block_13"), path)
    assert mobilenet_layouts(MobileNet(output="block_13"))[0].ignored == ()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        load_encoder_weights(MobileNet(), tmp_path / "absent.npz")


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("kept", [0, 3, 20, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path, kind, kept):
    arrays = {"w": np.random.RandomState(0).standard_normal((50, 50)).astype(np.float32)}
    path = tmp_path / f"weights.{kind}"
    if kind == "npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file(arrays, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=f"weights.{kind}"):
        read_weights(path)


def test_damaged_archive_is_named(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, w=np.zeros((50, 50), np.float32))
    content = bytearray(path.read_bytes())
    content[5000] ^= 255  # in the middle of the array: only the checksum tells
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz"):
        read_weights(path)


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"a text file\n" * 10)
    with pytest.raises(ValueError, match="weights.bin.*safetensors"):
        read_weights(path)
    with zipfile.ZipFile(path, "w") as archive:  # what torch.save writes is a zip too
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(ValueError, match="weights.bin"):
        load_encoder_weights(MobileNet(), path)
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    with pytest.raises(ValueError, match="weights.bin"):
        read_weights(path)


def test_pickled_objects_are_never_run(tmp_path):
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return (marker.write_text, ("x",))

    path = tmp_path / "weights.npz"
    np.savez(path, w=np.array([Payload()], dtype=object))
    with pytest.raises(ValueError, match="weights.npz"):
        read_weights(path)
    assert not marker.exists()


def test_a_file_of_no_known_layout_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "any.npz", odd=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"any.npz \(for ConvNet\).*holds: odd; .*known: capjax"):
        load_encoder_weights(ConvNet(), tmp_path / "any.npz")


def test_our_own_names_fit_every_module(tmp_path):
    expected = expected_of(ConvNet())
    arrays = {name: np.full(shape, 0.5, np.float32) for name, shape in expected.items()}
    save_file(arrays, tmp_path / "ours.safetensors")
    loaded = load_encoder_weights(ConvNet(), tmp_path / "ours.safetensors")
    flat = traverse_util.flatten_dict(loaded, sep="/")
    assert {name: leaf.shape for name, leaf in flat.items()} == expected


def test_a_matrix_of_three_is_cut_after_its_transposition():
    fused = np.arange(12, dtype=np.float32).reshape(6, 2)  # torch: [3 x out, in]
    names = ("params/query", "params/key", "params/value")
    table = Table([Rule("qkv", names, "OI")])
    result = convert({"qkv": fused}, [table], dict.fromkeys(names, (2, 2)), origin="x")
    assert result["params/key"].tolist() == [[4, 6], [5, 7]]
    with pytest.raises(ValueError, match=r"qkv has shape \(2, 5\) in our layout; .* 3 equal parts"):
        convert({"qkv": fused[:5]}, [table], dict.fromkeys(names, (2, 2)), origin="x")
    with pytest.raises(
        ValueError, match=r"qkv has shape \(2, 2\) .* cut into 3; expected \(3, 2\)"
    ):
        convert({"qkv": fused}, [table], dict.fromkeys(names, (3, 2)), origin="x")


@pytest.mark.parametrize(
    ("transform", "shape", "ours"),
    [
        ("OI", (5, 3), (3, 5)),
        ("OIHW", (6, 1, 3, 2), (3, 2, 1, 6)),
        ("HWCM", (3, 2, 6, 1), (3, 2, 1, 6)),
    ],
)
def test_layouts_of_kernels(transform, shape, ours):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    table = Table([Rule("w", "params/w", transform)])
    result = convert({"w": array}, [table], {"params/w": ours}, origin="x")["params/w"]
    assert result.flags.c_contiguous
    for index in np.ndindex(*shape):
        o, i, h, w = (*index, 0, 0)[:4]
        where = {"OI": (i, o), "OIHW": (h, w, i, o), "HWCM": (o, i, 0, h)}[transform]
        assert result[where] == array[index]
    with pytest.raises(ValueError, match="w has shape .* axes"):
        convert({"w": array[0]}, [table], {"params/w": ours}, origin="x")


@pytest.mark.parametrize(
    "named",
    [
        "module.{}".format,
        "module.encoder.{}".format,
        "net.{}".format,  # Lightning, by any name of the attribute
        "model.backbone._orig_mod.{}".format,
        "feature_extractor/{}".format,
        lambda key: key.replace("layer1.", "layer1.module."),  # DataParallel of a part of a net
        lambda key: key.replace("layer4.1.", "layer4.1._orig_mod."),
        lambda key: key,
    ],
)
def test_prefixes_of_trainers_are_left_out(named):
    source = {named(key): array for key, array in zeros_like_torchvision(18).items()}
    assert set(fit(source, ResNet(depth=18))) == set(expected_of(ResNet(depth=18)))
    source = {f"module.{key}": array for key, array in source.items()}
    source["n_averaged"] = np.zeros((), np.int64)  # an average of weights counts itself
    assert set(fit(source, ResNet(depth=18))) == set(expected_of(ResNet(depth=18)))
    del source[f"module.{named('layer1.0.bn1.bias')}"]
    source[f"module.{named('layer1.0.bn1.more')}"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError) as failure:
        fit(source, ResNet(depth=18))
    assert f"left over: module.{named('layer1.0.bn1.more')}" in str(failure.value)
    assert "missing: layer1.0.bn1.bias (ours: params/layer1_0/bn1/bias)" in str(failure.value)


def test_a_file_of_several_nets_says_which_parts_it_has(tmp_path):
    encoder = ConvNet(widths=(8,), residuals=(0,))
    arrays = {name: np.zeros(shape, np.float32) for name, shape in expected_of(encoder).items()}
    both = {f"encoder.{name}": array for name, array in arrays.items()}
    path = tmp_path / "captioner.safetensors"
    save_file({**both, "decoder.w": np.zeros(3, np.float32)}, path)
    counts = rf"choose one with FILE#PART, a PART of encoder \({len(both)}\), decoder \(1\)"
    with pytest.raises(ValueError, match=counts):
        load_encoder_weights(encoder, path)
    loaded = load_encoder_weights(encoder, f"{path}#encoder")
    assert set(traverse_util.flatten_dict(loaded, sep="/")) == set(arrays)
    path.rename(tmp_path / "model.safetensors")  # as a trainer leaves it in its folder
    loaded = load_encoder_weights(encoder, f"{tmp_path}#encoder")
    assert set(traverse_util.flatten_dict(loaded, sep="/")) == set(arrays)


@pytest.mark.parametrize("prefix", ["resnet.", "module.resnet.", ""])
def test_resnet_in_a_sequential(prefix):
    children = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    source = {}
    for key, array in zeros_like_torchvision(50).items():
        child, rest = key.split(".", 1)
        if child != "fc":
            source[f"{prefix}{children[child]}.{rest}"] = array
    encoder = ResNet(depth=50)
    assert set(fit(source, encoder)) == set(expected_of(encoder))
    source[f"{prefix}4.9.conv1.weight"] = np.zeros((1, 1, 1, 1), np.float32)
    with pytest.raises(
        ValueError, match=rf"read as torch Sequential(?s:.*)left over: {prefix}4.9.conv1"
    ):
        fit(source, encoder)


def test_the_layout_with_most_matches_is_used():
    one = Table([Rule("a|b", "params/a")], layout="one")
    two = Table([Rule("(a|b|c)", r"params/\1")], layout="two")
    refusing = Table([Rule(".*", "params/a")], layout="three", prepare=refuse)
    source = {key: np.ones(1, np.float32) for key in "abc"}
    expected = {f"params/{key}": (1,) for key in "abc"}
    assert set(convert(source, [one, refusing, two], expected, origin="x")) == set(expected)
    with pytest.raises(
        ValueError, match="known: three; if .*PART of a \\(1\\), b .*\n  three: not one of mine"
    ):
        convert(source, [refusing], expected, origin="x")


def refuse(source):
    raise ValueError("not one of mine")


def test_the_encoder_of_a_captioner():
    folder = SHIPPED / "scenes-soft"
    captioner = load_captioner(folder)
    as_trained = captioner.net.encoder.clone(dtype=jnp.bfloat16)  # how it is trained is not asked
    loaded = load_encoder_weights(as_trained, folder)
    assert set(loaded) == {"params", "batch_stats"}
    pixels = jnp.linspace(-1, 1, 32 * 32 * 3).reshape(1, 32, 32, 3)
    features = captioner.net.encoder.apply(loaded, pixels)
    images = 127.5 * (pixels + 1)
    seen = captioner.net.apply(captioner.variables, images, method="encode")
    np.testing.assert_allclose(features.positions, seen.positions, atol=1e-4)


def test_a_captioner_with_another_encoder_is_refused():
    with pytest.raises(ValueError, match=r"widths is .*96.* there, .*16.* here"):
        load_encoder_weights(ConvNet(), SHIPPED / "scenes-soft")
