"""safetensors, alone and in shards with their index; shards of PyTorch."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.weights import read_weights
from tests.weights.pickles import SIX, mapping, program, tensor, zipped


@pytest.mark.parametrize("low", [0x0A, 0x50, 0x7B, 0x80, 0x89])
def test_the_length_of_a_header_may_begin_like_another_format(low, tmp_path):
    described = json.dumps({"w": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}})
    header = described.encode().ljust(0x100 + low)
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + SIX.tobytes())
    assert path.read_bytes()[0] == low
    assert read_weights(path)["w"].tolist() == SIX.tolist()


@pytest.fixture
def index(tmp_path):
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "model-1.safetensors")
    save_file({"b": np.ones(3, np.float32)}, tmp_path / "model-2.safetensors")
    return tmp_path / "model.safetensors.index.json"


def write(index, weight_map):
    index.write_text(json.dumps({"metadata": {"total_size": 20}, "weight_map": weight_map}))


GOOD = {"a": "model-1.safetensors", "b": "model-2.safetensors"}


def test_shards_are_one_set_of_arrays(index):
    write(index, GOOD)
    held = read_weights(index)
    assert {name: array.tolist() for name, array in held.items()} == {"a": [0, 0], "b": [1, 1, 1]}


def test_shards_of_torch(tmp_path):
    zipped(tmp_path / "part.bin", program(mapping(w=tensor())), _0=SIX.tobytes())
    write(tmp_path / "pytorch_model.bin.index.json", {"w": "part.bin"})
    assert read_weights(tmp_path / "pytorch_model.bin.index.json")["w"].tolist() == SIX.tolist()


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a": "model-1.safetensors"} | {"c": "model-2.safetensors"}, "differing: b, c"),
        ({**GOOD, "c": "model-2.safetensors"}, "differing: c"),
        ({"a": "../model-1.safetensors"}, "outside its own folder"),
        ({"a": "/etc/passwd"}, "outside its own folder"),
        ({"a": "sub/model-1.safetensors"}, "outside its own folder"),
        ({"a": 3}, "outside its own folder"),
        ({}, "names no shards"),
        ([], "index of shards"),
        ({"a": "model.safetensors.index.json"}, "is no weight file"),
    ],
)
def test_an_index_that_lies(index, weight_map, said):
    write(index, weight_map)
    with pytest.raises(ValueError, match=said):
        read_weights(index)


def test_a_missing_shard_is_named(index):
    write(index, {**GOOD, "c": "model-3.safetensors"})
    with pytest.raises(FileNotFoundError, match=r"model-3.safetensors, which .*index.json names"):
        read_weights(index)


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "{}", '{"weight_map": 3}', "{" * 100_000])
def test_other_json_is_refused(index, content):
    index.write_text(content)
    with pytest.raises(ValueError, match=r"index.json"):
        read_weights(index)
