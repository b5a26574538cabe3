"""Made-up files with the names of appendix A.1, and folders of our own."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.inpaint.checkpoints import load_inpainter
from capjax.inpaint.discriminator import WIDTHS
from capjax.inpaint.generator import Generator, Inpainted
from capjax.inpaint.inpainter import INPAINTER_FILE, Inpainter, fill_holes
from capjax.inpaint.released import load_released, load_released_discriminator
from tests.compiled import apply
from tests.inpaint.test_generator import NET, SIZE, VARIABLES, WEIGHTS, pictures
from tests.weights.pickles import mapping, program, tensor, zipped

CNUM, WIDTH = NET.cnum, 2


def tensorflow_names():
    """What a checkpoint of TensorFlow holds, of both nets and of their optimisers."""
    arrays = {}
    for name, layer in WEIGHTS.items():
        scope = f"inpaint_net/{name}" + f"/{name}_conv" * name.endswith("_upsample")
        arrays |= {f"{scope}/{leaf}": value for leaf, value in layer.items()}
    before = 4
    for number, times in enumerate(WIDTHS, 1):
        scope, width = f"discriminator/sn_patch_gan/conv{number}", times * WIDTH
        arrays[f"{scope}/kernel"] = np.arange(25.0 * before * width).reshape(5, 5, before, width)
        arrays[f"{scope}/bias"] = np.arange(1.0 * width)
        arrays[f"{scope}/kernel_sn/u"] = np.arange(1.0 * width)[None] + 1
        before = width
    learnt = [name for name in arrays if not name.endswith("/u")]
    for name in learnt:
        arrays |= {f"{name}/Adam": arrays[name] + 1, f"{name}/Adam_1": arrays[name] + 2}
    scalars = ("lr", "beta1_power", "beta2_power", "beta1_power_1", "beta2_power_1")
    arrays |= {name: np.float32(0.5) for name in scalars}
    return {**arrays, "global_step": np.int64(7)}, 2 * len(learnt) + len(scalars) + 1


def port_file(path):
    """{"G": …, "D": …} with the port's keys, as torch.save writes it."""
    storages, nets = {}, {"G": {}, "D": {}}

    def add(net, key, array):
        number = str(len(storages))
        array = np.ascontiguousarray(array, "<f4")
        storages[f"_{number}"] = array.tobytes()
        strides = tuple(step // 4 for step in array.strides)
        nets[net][key] = tensor(number, "Float", array.size, 0, array.shape, strides)

    arrays, _ = tensorflow_names()
    for key, array in arrays.items():
        *scope, leaf = key.split("/")
        kind = {"kernel": "weight", "bias": "bias"}.get(leaf)
        if scope[:1] == ["inpaint_net"] and kind:
            inner = "conv.conv" if scope[1].endswith("_upsample") else "conv"
            value = array.transpose(3, 2, 0, 1) if kind == "weight" else array
            add("G", f"{scope[1]}.{inner}.{kind}", value)
        elif scope[:1] == ["discriminator"] and kind:
            value = array.transpose(3, 2, 0, 1) if kind == "weight" else array
            add("D", f"{scope[2]}.conv_sn.{kind}", value)
        elif leaf == "u":
            add("D", f"{scope[2]}.conv_sn.weight_u", array.T)
    body = program(mapping(**{name: mapping(**own) for name, own in nets.items()}))
    return zipped(path, body, **storages)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    arrays, _ = tensorflow_names()
    np.savez(folder / "released.npz", **arrays)
    port_file(folder / "states.pth")
    return folder


def test_every_name_of_the_released_checkpoint_is_read(released, caplog):
    path = released / "released.npz"
    found = load_inpainter(path)
    assert found.net == NET and found.size == (256, 256)
    assert found.card["licence"] == "CC BY-NC 4.0" and "CC BY-NC 4.0" in caplog.text
    assert found.card["optimiser_variables_skipped"] == tensorflow_names()[1]
    raw = load_released(path, channel_order="rgb").variables["params"]
    for name, layer in WEIGHTS.items():
        for leaf, value in layer.items():
            np.testing.assert_array_equal(raw[name][leaf], value.astype(np.float32))


def test_released_weights_see_bgr(released):
    images, masks = pictures()
    given = (jnp.asarray(each, jnp.float32) for each in (images[..., ::-1], masks))
    found = apply(NET, load_inpainter(released / "released.npz").variables, *given)
    expected = apply(NET, VARIABLES, *(jnp.asarray(each, jnp.float32) for each in (images, masks)))
    # Sums over input channels in another order.
    np.testing.assert_allclose(found.refined[..., ::-1], expected.refined, atol=1e-5)


def test_the_port_holds_the_same_and_computes_in_its_own_way(released):
    theirs = load_inpainter(f"{released / 'states.pth'}#G")
    assert theirs.net == Generator(cnum=CNUM, fuse=False, mask_resize="one_step")
    ours = load_inpainter(released / "released.npz").variables["params"]
    for name, layer in ours.items():
        for leaf, value in layer.items():
            np.testing.assert_array_equal(theirs.variables["params"][name][leaf], value)
    fused = load_released(f"{released / 'states.pth'}#G", fuse=True, mask_resize="two_step")
    assert fused.net == NET
    with pytest.raises(ValueError, match=r"several sets of tensors: G, D; choose one"):
        load_inpainter(released / "states.pth")


def test_discriminators(released):
    net, variables = load_released_discriminator(released / "released.npz")
    other, theirs = load_released_discriminator(f"{released / 'states.pth'}#D")
    assert net == other and net.width == WIDTH
    kernel = np.arange(25.0 * 4 * WIDTH).reshape(5, 5, 4, WIDTH)
    for own in (variables, theirs):
        first = own["params"]["conv1"]
        np.testing.assert_array_equal(first["kernel"], kernel[:, :, [2, 1, 0, 3]])
        np.testing.assert_array_equal(own["spectral"]["conv2"]["u"], np.arange(1.0, 5)[None])
    assert len(variables["params"]) == len(theirs["spectral"]) == 6


def test_what_does_not_fit_is_named(released, tmp_path):
    arrays, _ = tensorflow_names()
    arrays["inpaint_net/conv99/kernel"] = arrays.pop("inpaint_net/conv3/kernel")
    arrays["inpaint_net/conv5/bias"] = np.zeros(3)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError) as caught:
        load_inpainter(tmp_path / "other.npz")
    text = str(caught.value)
    assert "missing: inpaint_net/conv3/kernel" in text
    assert "left over: inpaint_net/conv99/kernel" in text
    assert "inpaint_net/conv5/bias has shape (3,)" in text
    with pytest.raises(ValueError, match="channel_order='grb'; choose bgr or rgb"):
        load_released(released / "released.npz", channel_order="grb")
    np.savez(tmp_path / "part.npz", **{"inpaint_net/conv3/kernel": np.zeros((3, 3, 4, 8))})
    with pytest.raises(ValueError, match="0 biases of a first convolution"):
        load_inpainter(tmp_path / "part.npz")
    stages = {f"stage{number}.conv1.conv.weight": np.zeros((8, 5, 5, 5)) for number in (1, 2)}
    np.savez(tmp_path / "own.npz", **stages)
    with pytest.raises(ValueError, match="of the port's own network"):
        load_inpainter(tmp_path / "own.npz")


def test_a_folder_of_our_own(tmp_path):
    card = {"data": "/somewhere/pictures", "licence": "CC BY 4.0"}
    ours = Inpainter(NET.clone(budget=5), VARIABLES, (SIZE, SIZE), card)
    ours.save(tmp_path)
    again = load_inpainter(tmp_path)
    assert again.net == NET and again.size == (SIZE, SIZE) and again.hash == ours.hash
    assert again.card == {"data": "pictures", "licence": "CC BY 4.0"}
    ours.save(tmp_path, storage="float16")
    (halved,) = tmp_path.glob("inpainter-*.safetensors")
    numbers = sum(leaf.size for layer in WEIGHTS.values() for leaf in layer.values())
    assert halved.stat().st_size < 2 * numbers + 10_000
    assert load_inpainter(tmp_path).hash != ours.hash
    halved.write_bytes(halved.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{INPAINTER_FILE} expects"):
        load_inpainter(tmp_path)
    described = json.loads((tmp_path / INPAINTER_FILE).read_text())
    (tmp_path / INPAINTER_FILE).write_text(json.dumps({**described, "format": 9}))
    with pytest.raises(ValueError, match="has format 9; this is 1"):
        load_inpainter(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere is no inpainter"):
        load_inpainter("nowhere")


class Negative:
    """A net that paints the negative of what it sees, holes included."""

    def apply(self, variables, images, masks):
        assert images.shape[:-1] == masks.shape[:-1]
        return Inpainted(images, -variables * images, None)


def test_pixels_are_filled_in_holes_alone():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    masks = np.zeros((1, 16, 16), bool)
    masks[0, 3:, 5:9] = True
    filled = fill_holes(Negative(), jnp.float32(1), jnp.asarray(pixels), jnp.asarray(masks))
    np.testing.assert_array_equal(filled, np.where(masks[..., None], 255 - pixels, pixels))
    filled = fill_holes(Negative(), jnp.float32(3), jnp.asarray(pixels), jnp.asarray(masks))
    assert set(np.unique(np.asarray(filled)[masks])) >= {0, 255}  # saturated, not wrapped
