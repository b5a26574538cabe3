"""`python -m capjax.weights`: listing, converting, verifying, and its exit codes."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from capjax.captioner import SHIPPED, build_net, load_captioner
from capjax.checkpoints.settings import module_from_json
from capjax.decoders import GPT2
from capjax.detectors.detr import Detr
from capjax.encoders import ENCODERS, VGG, ResNet, ViT
from capjax.runtime.fingerprint import sha256_of
from capjax.text.bert import Bert
from capjax.text.clip_text import ClipText
from capjax.weights.__main__ import _encoder, main
from capjax.weights.encoders import layouts_of, load_encoder_weights
from capjax.weights.hub_address import parse_hub
from capjax.weights.known import known_models, known_weights
from tests import shapes
from tests.golden import efficientnet_outputs, inception_outputs
from tests.golden import resnet_torchvision as golden
from tests.weights.vit_gpt2_folder import write_folder

RESNET = ("--encoder=resnet", "--depth=18", "--stage=1")


@pytest.fixture(scope="module")
def resnet_file(tmp_path_factory):
    layout = json.loads(golden.LAYOUTS.read_text())["18"]
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(golden.seeded_state({n: tuple(s) for n, s in layout.items()}), path)
    return path


def test_convert_writes_what_loads_back(resnet_file, tmp_path, capsys):
    out = tmp_path / "ours.safetensors"
    assert main(["convert", str(resnet_file), *RESNET, f"--out={out}"]) == 0
    assert capsys.readouterr().out == f"{sha256_of(out)}  {out}\n"
    encoder = ResNet(depth=18, stage=1)
    first, second = (
        traverse_util.flatten_dict(load_encoder_weights(encoder, path), sep="/")
        for path in (resnet_file, out)
    )
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    with safe_open(out, framework="numpy") as file:
        described = file.metadata()
    assert described["source"] == "resnet18.safetensors"
    assert described["source_sha256"] == sha256_of(resnet_file)
    assert module_from_json(json.loads(described["encoder"]), ENCODERS) == encoder
    assert [path.name for path in tmp_path.iterdir()] == [out.name]  # nothing half written
    assert main(["verify", str(out), *RESNET]) == 0
    assert "layout capjax" in capsys.readouterr().out


def beginning_of(layout, *parts):
    """Seeded arrays of the layers whose names begin so."""
    shapes = {name: tuple(shape) for name, shape in layout.items() if name.startswith(parts)}
    return golden.seeded_state(shapes)


EFFICIENTNET = ("efficientnet_v2", "--size=s", "--output=stage1")
INCEPTION = ("inception_v3", "--output=mixed_0")


@pytest.mark.parametrize(
    ("encoder", "layout", "parts", "right", "wrong", "said"),
    [
        (
            EFFICIENTNET,
            efficientnet_outputs.read_layout("keras"),
            ("stem", "block1"),
            "--weights_of=keras",
            "--weights_of=torchvision",
            "weights_of is 'keras' there, 'torchvision' here",
        ),
        (
            INCEPTION,
            inception_outputs.read_layout("torchvision"),
            ("Conv2d", "Mixed_5b"),
            "--variant=tf2015",
            "--variant=keras",
            "variant is 'tf2015' there, 'keras' here",
        ),
    ],
)
def test_a_converted_file_keeps_its_variant(
    encoder, layout, parts, right, wrong, said, tmp_path, capsys
):
    """Our names and shapes are the same for all variants, whose features differ."""
    source, out = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    save_file(beginning_of(layout, *parts), source)
    named = [f"--encoder={encoder[0]}", *encoder[1:]]
    assert main(["convert", str(source), *named, right, f"--out={out}"]) == 0
    assert main(["verify", str(out), *named, right, "--freeze_norm=False"]) == 0
    capsys.readouterr()
    assert main(["verify", str(out), *named, wrong]) == 1
    text = capsys.readouterr().err
    assert f"of another encoder: {said}\n" in text
    again = tmp_path / "again.safetensors"
    assert main(["convert", str(out), *named, wrong, f"--out={again}"]) == 1
    arrays = load_file(out)
    for metadata, expected in (
        ({"format": "capjax"}, 1),
        ({"format": "capjax", "encoder": "{"}, 1),
        ({"format": "capjax", "encoder": '{"name": "nonet"}'}, 1),
        (None, 0),  # ours by name alone: nothing says of which variant
    ):
        save_file(arrays, out, metadata)
        assert main(["verify", str(out), *named, right]) == expected


def test_a_failed_conversion_leaves_nothing(resnet_file, tmp_path, capsys):
    out = tmp_path / "ours.safetensors"
    assert main(["convert", str(resnet_file), "--encoder=resnet", f"--out={out}"]) == 1
    assert (
        "missing: layer1.0.bn3.running_mean (ours: batch_stats/layer1_0/bn3/mean)"
        in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_settings_left_open_are_those_of_the_published_weights():
    assert _encoder("vgg", ["--depth=16"]) == VGG(depth=16, output="conv5_3")
    caffe = _encoder("vgg", ["--depth=16", "--weights_of=caffe"])
    assert caffe == VGG(depth=16, output="conv5_3", weights_of="caffe")
    assert _encoder("vgg", []) == VGG()
    with pytest.raises(ValueError, match=r"--depth=16 --output=conv5_4 means nothing: VGG-16 has"):
        _encoder("vgg", ["--depth=16", "--output=conv5_4"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("verify w.pth --encoder=resnet --depth=18 --depth=50", "--depth is given twice"),
        ("verify w.pth --encoder=resnet --sha256=abc", "got 'abc', expected 64 hexadecimal"),
        ("convert w --encoder=vgg --encoder-weights=e --out=o.safetensors", "add --vocabulary"),
    ],
)
def test_flags_without_effect_or_sense_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_verify_says_what_fits_and_what_does_not(resnet_file, capsys):
    assert main(["verify", str(resnet_file), *RESNET]) == 0
    out = capsys.readouterr().out
    assert "fits ResNet: 157,504 parameters, layout torchvision and timm" in out
    digest = sha256_of(resnet_file)
    assert f"{digest}  {resnet_file}" in out
    assert main(["verify", str(resnet_file), *RESNET, f"--sha256={digest.upper()}"]) == 0
    assert main(["verify", str(resnet_file), *RESNET, f"--sha256={'0' * 64}"]) == 1
    assert f"has sha256 {digest}; expected {'0' * 64}" in capsys.readouterr().err
    assert main(["verify", str(resnet_file), "--encoder=resnet", "--depth=34"]) == 1
    assert (
        "missing: layer1.2.bn1.running_mean (ours: batch_stats/layer1_2/bn1/mean)"
        in capsys.readouterr().err
    )
    assert main(["verify", "absent.pth", *RESNET]) == 1
    assert "absent.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["verify", "x"], "--encoder"),
        (["verify", "x", "--encoder=nonet"], "invalid choice: 'nonet'"),
        (["verify", "x", "--encoder=resnet", "--deepness=3"], "setting of resnet: depth, stage"),
        (["verify", "x", "--encoder=resnet", "--depth", "18"], "expected --NAME=VALUE"),
        (["convert", "x", "--encoder=resnet"], "--out"),
        (["convert", "x", "--encoder=resnet", "--out=x.bin"], "ends in .safetensors"),
        (["verify", "x", "--encoder=resnet", "--depth=20"], "choose one of: 18, 34, 50, 101, 152"),
        (["verify", "x", "--encoder=resnet", "--depth=eighteen"], "unknown ResNet depth eighteen"),
        (["verify", "x", "--encoder=vit", "--patch=0"], "vit with --patch=0 means nothing: "),
        (["verify", "x", "--encoder=resnet", "--pool=3"], "resnet with --pool=3 means nothing: "),
        (["verify", "x", "--encoder=inception_v3", "--variant=foo"], "choose one of: 'tf2015'"),
        (["verify", "hf:a/b", "--depth=18"], "a whole model has no settings"),
        (["verify", "hf:a/b", f"--sha256={'0' * 64}"], "no one digest"),
        (["verify", "hf:a/b/model.safetensors"], "--encoder"),
        (["list", "--depth=3"], "unrecognized arguments: --depth=3"),
        (["list", "x", "y"], "unrecognized arguments: y"),
        ([], "command"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_whole_models_are_loaded(tmp_path, capsys):
    folder = write_folder(tmp_path / "model", 2)
    assert main(["verify", str(folder)]) == 0
    held = load_file(folder / "model.safetensors")
    count = sum(array.size for name, array in held.items() if ".pooler." not in name)
    assert f"loads: a ViT-GPT2 captioner, {count:,} parameters" in capsys.readouterr().out
    (folder / "merges.txt").unlink()
    assert main(["verify", str(folder)]) == 1
    assert "holds no merges.txt" in capsys.readouterr().err
    assert main(["verify", "scenes-soft"]) == 0
    assert load_captioner(SHIPPED / "scenes-soft").hash in capsys.readouterr().out
    assert main(["verify", str(SHIPPED / "scenes-soft"), "--encoder=convnet"]) == 1
    assert "leave out --encoder" in capsys.readouterr().err
    assert main(["verify", str(tmp_path)]) == 1
    assert "holds no config.json" in capsys.readouterr().err
    (folder / "config.json").write_text('{"model_type": "t5"}')
    assert main(["verify", str(folder)]) == 1
    assert "model_type 't5'" in capsys.readouterr().err


def test_the_weights_in_a_folder(resnet_file, capsys):
    (resnet_file.parent / "model.safetensors").symlink_to(resnet_file)
    assert main(["verify", str(resnet_file.parent), *RESNET]) == 0
    assert "fits ResNet" in capsys.readouterr().out


def test_list_of_a_file(resnet_file, capsys):
    assert main(["list", str(resnet_file)]) == 0
    out = capsys.readouterr().out
    rows = [re.split(r" {2,}", line) for line in out.splitlines()]
    assert ["layer1.0.bn1.num_batches_tracked", "[]", "int64"] in rows
    assert ["conv1.weight", "[64, 3, 7, 7]", "float32"] in rows
    assert f"122 arrays, 11,699,132 numbers, sha256 {sha256_of(resnet_file)}\n" in out


def test_list_names_every_encoder_and_known_weights(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for name in ENCODERS:
        assert f"{name}: reads files of " in out
    for row in known_weights():
        assert all(source in out for source in row.sources)
    for model in known_models():
        assert all(source in out for source in model.sources)


def test_parameter_counts_of_known_models():
    """As the models' shapes are published: width 768, 384 and 512 of the text encoders, DETR."""
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    tokens, valid = jnp.zeros((1, 2), jnp.int32), jnp.ones((1, 2), bool)
    net = build_net(ViT(), GPT2(50257, 768), ViT().preprocessing())
    mini = Bert(width=384, layers=6, mlp=1536)
    traced = [
        jax.eval_shape(net.init, jax.random.key(0), images.update(dtype=jnp.uint8), tokens),
        jax.eval_shape(mini.init, jax.random.key(0), tokens, valid),
        jax.eval_shape(ClipText().init, jax.random.key(0), tokens, valid),
        jax.eval_shape(Detr().init, jax.random.key(0), images, jnp.ones((1, 224, 224), bool)),
    ]
    counts = [shapes.count(each["params"]) for each in traced]
    assert counts == [model.parameters for model in known_models()]


@pytest.mark.parametrize("row", known_weights(), ids=lambda row: f"{row.encoder}-{row.layout}")
def test_known_weights_are_of_encoders_that_exist(row):
    encoder = module_from_json({"name": row.encoder, **row.fields}, ENCODERS)
    assert row.layout in [table.layout for table in layouts_of(encoder)]
    for source in row.sources:
        assert source.startswith("https://") or str(parse_hub(source)) == source


@pytest.mark.slow
def test_parameter_counts_of_known_weights():
    counted = {}
    for row in known_weights():
        # Whose weights they are changes the padding, no shape.
        fields = {name: value for name, value in row.fields.items() if name != "weights_of"}
        encoder = module_from_json({"name": row.encoder, **fields}, ENCODERS)
        if encoder not in counted:
            _, variables = shapes.traced(encoder, (1, *encoder.preprocessing().size, 3))
            counted[encoder] = shapes.count(variables["params"])
        assert counted[encoder] == row.parameters, row


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--help"], ["list", "convert", "verify", "examples: python -m capjax.weights list"]),
        (["list", "--help"], ["FILE", "hf:owner/name", "Keras .h5"]),
        (["verify", "--help"], ["FILE", "--encoder", "--sha256", "--NAME=VALUE", "Exit code"]),
        (["verify", "--help"], ["whole model", "verify hf:nlpconnect/vit-gpt2-image-captioning"]),
        (["convert", "--help"], ["convert captioner.h5 --vocabulary=vocab.txt --out=captioner"]),
        (["convert", "--help"], ["FILE", "--encoder", "--out", "resnet,", "sha256", "example"]),
    ],
)
def test_help_is_complete(arguments, parts, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert all(part in text for part in parts)
