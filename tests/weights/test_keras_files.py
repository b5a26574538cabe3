"""Keras' HDF5 files: every nesting of its releases, written with h5py as Keras writes them."""

import io
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from capjax.weights import read_weights

h5py = pytest.importorskip("h5py")

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
BIAS = np.ones(4, np.float32)


def by_layer(group, layers, *, chunks=0):
    """`layers`: name -> {weight name: array}, as whole models and weights until Keras 2."""
    names = [name.encode() for name in layers]
    if chunks:  # lists too long for one attribute are cut
        for number, part in enumerate(np.array_split(names, chunks)):
            group.attrs[f"layer_names{number}"] = part
    else:
        group.attrs["layer_names"] = names
    for layer, weights in layers.items():
        inner = group.create_group(layer)
        inner.attrs["weight_names"] = [name.encode() for name in weights]
        for name, array in weights.items():
            inner[name] = array


LAYERS = {
    "second": {"second/kernel:0": KERNEL, "second/bias:0": BIAS},
    "input": {},
    "first": {"first_3/gamma:0": BIAS, "first_3/moving_mean:0": 2 * BIAS},
    "inner": {"a/kernel:0": KERNEL, "b/cell/kernel:0": KERNEL},
    "block1_conv1": {"block1_conv1_W_1:0": KERNEL, "block1_conv1_b_1:0": BIAS},
}
NAMES = [
    *("second/kernel", "second/bias", "first_3/gamma", "first_3/moving_mean"),
    *("a/kernel", "b/cell/kernel"),
    *("block1_conv1/block1_conv1_W_1", "block1_conv1/block1_conv1_b_1"),
]


@pytest.mark.parametrize("inside", ["", "model_weights"])
@pytest.mark.parametrize("chunks", [0, 2])
def test_lists_of_layers(inside, chunks, tmp_path):
    with h5py.File(tmp_path / "w.h5", "w") as file:
        by_layer(file.create_group(inside) if inside else file, LAYERS, chunks=chunks)
        if inside:
            file["optimizer_weights/iteration"] = 3
    held = read_weights(tmp_path / "w.h5")
    assert list(held) == NAMES
    np.testing.assert_array_equal(held["second/kernel"], KERNEL)
    np.testing.assert_array_equal(held["first_3/moving_mean"], 2 * BIAS)


def numbered(file, *, named=True):
    """As Keras 3 writes `.weights.h5`; layers have their class, and perhaps their name."""

    def layer(path, name, *arrays):
        group = file.create_group(f"{path}/vars")
        if named:
            group.attrs["name"] = name
        for number, array in enumerate(arrays):
            group[str(number)] = array

    for number in range(12):  # conv2d_10 comes after conv2d_9
        suffix = f"_{number}" if number else ""
        layer(f"layers/conv2d{suffix}", f"stem_{number}", KERNEL + number, BIAS)
    layer("layers/batch_normalization", "norm", BIAS, 2 * BIAS, 3 * BIAS)
    layer("layers/batch_normalization_1", "scaled", BIAS, 2 * BIAS, 3 * BIAS, 4 * BIAS)
    layer("layers/input_layer", "input")
    layer("layers/lstm", "words")
    layer("layers/lstm/cell", "lstm_cell", KERNEL, KERNEL + 1, BIAS)
    layer("layers/sequential", "inner")
    layer("layers/sequential/layers/dense", "last", KERNEL)
    layer("layers/attention_of_mine", "mine", KERNEL, BIAS)
    file["optimizer/vars/0"] = 3
    file.create_group("vars")


def test_numbered_variables(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        numbered(file)
    held = read_weights(tmp_path / "w.weights.h5")
    kernels = [name for name in held if name.startswith("stem_") and name.endswith("kernel")]
    assert kernels == [f"stem_{number}/kernel" for number in range(12)]
    assert held["stem_10/kernel"][0, 0, 0] == 10
    assert held["norm/beta"][0] == 1 and held["norm/moving_variance"][0] == 3
    assert "norm/gamma" not in held
    assert held["scaled/gamma"][0] == 1 and held["scaled/moving_variance"][0] == 4
    assert held["words/lstm_cell/recurrent_kernel"][0, 0, 0] == 1
    assert "inner/last/kernel" in held
    assert {"mine/vars/0", "mine/vars/1"} <= set(held)  # of a class that is not known
    assert len(held) == 24 + 3 + 4 + 3 + 1 + 2


def test_variables_of_layers_without_names(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        numbered(file, named=False)
    held = read_weights(tmp_path / "w.weights.h5")
    assert held["conv2d_10/kernel"][0, 0, 0] == 10
    assert "lstm/cell/kernel" in held and "sequential/dense/kernel" in held


def test_a_whole_model_in_an_archive(tmp_path):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        numbered(file)
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", content.getvalue())
    assert "stem_0/kernel" in read_weights(tmp_path / "w.keras")


def test_bfloat16(tmp_path):
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = KERNEL.astype(ml_dtypes.bfloat16).view("V2")
        group["0"].attrs["dtype"] = "bfloat16"
    held = read_weights(tmp_path / "w.weights.h5")["dense/kernel"]
    assert held.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(held.astype(np.float32), KERNEL)


def write_one(path, make):
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        file.attrs["layer_names"] = [b"a"]
        group.attrs["weight_names"] = [b"kernel:0"]
        make(group)
    return path


def external_storage(group):
    group.create_dataset("kernel:0", (4,), "u1", external=[("/etc/hostname", 0, 4)])


def external_link(group):
    group["kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(group):
    group["kernel:0"] = h5py.SoftLink("/b")


def virtual(group):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
    group.create_virtual_dataset("kernel:0", layout)


def unwritten(group):
    group.create_dataset("kernel:0", (2**30,), "f4")


def half_written(group):
    group.create_dataset("kernel:0", (100,), "f4", chunks=(10,), compression="gzip")[:50] = 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (external_storage, "not held by the file itself"),
        (external_link, "not held by the file itself"),
        (soft_link, "not held by the file itself"),
        (virtual, "not held by the file itself"),
        (unwritten, "never written completely"),
        (half_written, "never written completely"),
        (lambda group: None, "not held by the file itself"),
        (lambda group: group.create_group("kernel:0"), "is not an array"),
    ],
)
def test_arrays_that_are_elsewhere_or_nowhere(make, said, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = BIAS
    path = write_one(tmp_path / "w.h5", make)
    with pytest.raises(ValueError, match=f"w.h5 as a Keras file.*{said}"):
        read_weights(path)


def test_compressed_arrays_are_read(tmp_path):
    path = write_one(
        tmp_path / "w.h5",
        lambda group: group.create_dataset("kernel:0", data=KERNEL, compression="gzip"),
    )
    np.testing.assert_array_equal(read_weights(path)["a/kernel"], KERNEL)


def test_other_hdf5_files(tmp_path):
    for path, fill in (("empty.h5", {}), ("plain.h5", {"data": KERNEL})):
        with h5py.File(tmp_path / path, "w") as file:
            for name, array in fill.items():
                file[name] = array
        with pytest.raises(ValueError, match=f"{path} as a Keras file.*save_weights"):
            read_weights(tmp_path / path)


@pytest.mark.parametrize("kept", [9, 100, 0.5, 0.99])
def test_truncated_files_are_named(kept, tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        by_layer(file, LAYERS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="w.h5"):
        read_weights(path)


def test_without_the_extra(tmp_path, monkeypatch):
    path = write_one(tmp_path / "w.h5", lambda group: group.create_dataset("kernel:0", data=BIAS))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"capjax\[keras\]"):
        read_weights(path)
