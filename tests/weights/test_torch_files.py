"""Files of torch.save: those that torch wrote, those that are damaged, those that attack."""

import contextlib
import os
import pickle
import time
import zipfile

import numpy as np
import pytest

from capjax.weights import read_weights
from tests.golden import torch_files as golden
from tests.weights.pickles import (
    SIX,
    imported,
    legacy,
    mapping,
    number,
    program,
    sequence,
    storage,
    tensor,
    text,
    zipped,
)

FORMATS = pytest.mark.parametrize("write", [zipped, legacy])


@pytest.mark.parametrize("path", [golden.ZIP, golden.LEGACY], ids=lambda path: path.name)
def test_what_torch_wrote(path):
    expected, held = golden.expected(), read_weights(path)
    assert list(held) == list(expected)
    for name, array in expected.items():
        assert held[name].dtype == array.dtype, name
        assert held[name].shape == array.shape, name
        np.testing.assert_array_equal(held[name], array, err_msg=name)


@FORMATS
def test_views_of_one_storage(write, tmp_path):
    body = mapping(
        whole=tensor(shape=(2, 3), strides=(3, 1)),
        turned=tensor(shape=(3, 2), strides=(1, 3)),
        late=tensor(offset=4, shape=(2,)),
        point=tensor(offset=5, shape=(), strides=()),
    )
    held = read_weights(write(tmp_path / "w.pth", program(body), _0=SIX.tobytes()))
    assert held["whole"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert held["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert held["late"].tolist() == [4, 5]
    assert held["point"].tolist() == 5


@pytest.mark.parametrize(("order", "dtype"), [(b"little", "<f4"), (b"big", ">f4"), (None, "<f4")])
def test_byte_order(order, dtype, tmp_path):
    path = zipped(
        tmp_path / "w.pth",
        program(mapping(w=tensor())),
        order=order,
        _0=SIX.astype(dtype).tobytes(),
    )
    assert read_weights(path)["w"].tolist() == SIX.tolist()


def test_other_byte_orders_are_refused(tmp_path):
    body = program(mapping(w=tensor()))
    path = zipped(tmp_path / "w.pth", body, order=b"middle", _0=SIX.tobytes())
    with pytest.raises(ValueError, match="w.pth.*byte order is b'middle'"):
        read_weights(path)
    system = pickle.dumps({"protocol_version": 1001, "little_endian": False}, 2)
    path = legacy(path, body, system=system, _0=SIX.tobytes())
    with pytest.raises(ValueError, match="w.pth.*big-endian"):
        read_weights(path)


# ---- what a checkpoint holds beside tensors


@FORMATS
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (mapping(a=mapping(w=tensor()), b=mapping(w=tensor())), "several sets of tensors: a, b"),
        (mapping(epoch=number(3)), "no set of tensors; its entries are: epoch"),
        (mapping(w=tensor(), epoch=number(3)), "other values: epoch"),
        (b"](" + tensor() + b"e", "holds a list"),
        (mapping(), "no set of tensors"),
    ],
)
def test_ambiguous_checkpoints(write, body, said, tmp_path):
    with pytest.raises(ValueError, match=f"w.pth.*{said}.*torch.save"):
        storages = {"_0": SIX.tobytes()} if b"FloatStorage" in body else {}
        read_weights(write(tmp_path / "w.pth", program(body), **storages))


WEIGHTS = mapping(w=tensor(shape=(2, 3), strides=(3, 1)))
SCORE = tensor(offset=5, shape=(), strides=())
MOMENTUM = b"}" + number(0) + mapping(exp_avg=tensor(), step=SCORE) + b"s"
SGD = mapping(state=MOMENTUM, param_groups=b"](" + mapping(lr=number(1)) + b"e")


def made(module, name, state):
    """An object as protocol 2 pickles it: a class, no arguments, and its attributes."""
    return imported(module, name) + b")\x81" + state + b"b"


NAMESPACE = made("argparse", "Namespace", mapping(lr=number(1), resume=text("")))
PATH = imported("pathlib", "PosixPath") + sequence(text("runs")) + b"R"
FACTORY = imported("collections", "defaultdict") + sequence(imported("builtins", "dict")) + b"R"
CALLBACK = b"}" + imported("lightning.callbacks", "ModelCheckpoint")
CALLBACK += mapping(best_model_score=SCORE, best_k_models=mapping(a=SCORE), path=text("a")) + b"s"
GENERATOR = tensor(kind="Byte", key="1", elements=8, shape=(8,))


@FORMATS
@pytest.mark.parametrize(
    "body",
    [
        mapping(
            epoch=number(9), arch=text("resnet18"), state_dict=WEIGHTS, best_acc1=SCORE,
            optimizer=SGD, scheduler=mapping(last_epoch=number(9)),
        ),  # the ImageNet example of PyTorch
        mapping(
            model=WEIGHTS, optimizer=SGD, lr_scheduler=mapping(), epoch=number(1), args=NAMESPACE,
            scaler=mapping(scale=number(3)),
        ),  # torchvision's references
        mapping(
            state_dict=WEIGHTS, callbacks=CALLBACK, optimizer_states=b"](" + SGD + b"e",
            hyper_parameters=mapping(path=PATH), loops=mapping(),
        ),  # Lightning
        mapping(module=WEIGHTS, optimizer=b"N", param_shapes=b"](" + PATH + b"e"),  # DeepSpeed
        mapping(model=WEIGHTS, opt=FACTORY + text("state") + MOMENTUM + b"s", epoch=b"N"),
        b"](" + WEIGHTS + SGD + b"e",  # (weights, optimizer)
        mapping(checkpoint=mapping(net=mapping(weights=WEIGHTS)), best=mapping(score=SCORE)),
        mapping(model=WEIGHTS, same=b"h\x07").replace(WEIGHTS, WEIGHTS + b"q\x07"),  # one, twice
    ],
)  # fmt: skip
def test_the_one_state_dict_of_a_checkpoint(write, body, tmp_path, caplog):
    path = write(tmp_path / "w.pth", program(body), _0=SIX.tobytes())
    held = read_weights(path)
    assert {name: array.tolist() for name, array in held.items()} == {"w": [[0, 1, 2], [3, 4, 5]]}
    for module, name in (("argparse", "Namespace"), ("pathlib", "PosixPath")):
        told = f"{module}.{name}" in caplog.text
        assert told == (imported(module, name) in body)


def test_states_of_random_generators_are_no_weights(tmp_path):
    body = mapping(model=WEIGHTS, rng=mapping(cpu=GENERATOR), cuda_rng_state=GENERATOR)
    path = zipped(tmp_path / "w.pth", program(body), _0=SIX.tobytes(), _1=bytes(8))
    assert list(read_weights(path)) == ["w"]


@FORMATS
def test_one_of_several_state_dicts_is_chosen_by_name(write, tmp_path):
    average = mapping(module=mapping(w=tensor(offset=3, elements=6, shape=(3,))), decay=number(1))
    body = mapping(state_dict=WEIGHTS, state_dict_ema=average, args=NAMESPACE)
    path = write(tmp_path / "w.pth", program(body), _0=SIX.tobytes())
    with pytest.raises(ValueError, match="several sets of tensors: state_dict, state_dict_ema.mod"):
        read_weights(path)
    with pytest.raises(ValueError, match="as in FILE#state_dict_ema.module"):
        read_weights(path)
    assert read_weights(f"{path}#state_dict")["w"].shape == (2, 3)
    assert read_weights(f"{path}#state_dict_ema.module")["w"].tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match="no set of tensors 'ema'; it has: state_dict, state_dict"):
        read_weights(f"{path}#ema")


def test_a_part_is_what_keys_begin_with(tmp_path):
    body = mapping(epoch=number(1), state_dict=mapping(**{"net.w": tensor(), "loss.w": tensor()}))
    path = zipped(tmp_path / "w.ckpt", program(body), _0=SIX.tobytes())
    for part in ("net", "state_dict.net"):
        assert list(read_weights(f"{path}#{part}")) == ["w"]
    with pytest.raises(ValueError, match=r"begins with 'model'; they begin with: net \(1\), loss"):
        read_weights(f"{path}#model")
    np.savez(tmp_path / "w.npz", **{"net/w": SIX, "ema/w": SIX + 1})
    assert read_weights(f"{tmp_path / 'w.npz'}#ema")["w"].tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match=r"cannot take 'nets' of .*w.npz: no key begins with"):
        read_weights(f"{tmp_path / 'w.npz'}#nets")
    path.rename(tmp_path / "w#1.ckpt")  # the file's own name
    assert list(read_weights(tmp_path / "w#1.ckpt")) == ["net.w", "loss.w"]


def test_weights_beside_weights_are_ambiguous(tmp_path):
    """A module's own tensors with a second set among them: neither is taken for the other."""
    body = mapping(w=tensor(), extra=WEIGHTS)
    path = zipped(tmp_path / "w.pth", program(body), _0=SIX.tobytes())
    with pytest.raises(
        ValueError, match="several sets of tensors: those of the file itself, extra"
    ):
        read_weights(path)
    assert read_weights(f"{path}#extra")["w"].shape == (2, 3)
    body = mapping(w=tensor(), _extra_state=NAMESPACE)
    zipped(path, program(body), _0=SIX.tobytes())
    with pytest.raises(ValueError, match=r"other values: _extra_state \(argparse.Namespace\)"):
        read_weights(path)


def test_a_whole_module_is_no_state_dict(tmp_path):
    state = mapping(_parameters=mapping(w=tensor()), _modules=mapping())
    body = mapping(model=made("models.yolo", "Model", state), epoch=number(1))
    path = zipped(tmp_path / "w.pth", program(body), _0=SIX.tobytes())
    with pytest.raises(ValueError, match="asks for models.yolo.Model.*save the state dict alone"):
        read_weights(path)


def test_a_lie_of_depth_or_of_calls_takes_no_time(tmp_path):
    started = time.monotonic()
    deep = mapping(model=WEIGHTS, deep=b"}" + (text("a") + b"}") * 100_000 + b"s" * 100_000)
    path = zipped(tmp_path / "w.pth", program(deep), _0=SIX.tobytes())
    assert list(read_weights(path)) == ["w"]
    calls = mapping(model=WEIGHTS, odd=imported("os", "getcwd") + b")R" * 100_000)
    zipped(path, program(calls), _0=SIX.tobytes())
    assert list(read_weights(path)) == ["w"]
    assert time.monotonic() - started < 20


# ---- attacks


class Attack:
    """Makes a folder when a true unpickler runs it."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def attacks(marker):
    """Name -> a pickle that makes the folder `marker` by another instruction each."""
    name = str(marker)
    call = f"__import__('os').mkdir({name!r})"
    yield from (
        (f"reduce, protocol {protocol}", pickle.dumps({"w": Attack(marker)}, protocol))
        for protocol in range(6)
    )
    yield "system", program(imported("os", "system") + sequence(text(f"mkdir {name}")) + b"R")
    yield "eval", program(imported("builtins", "eval") + sequence(text(call)) + b"R")
    yield "exec", program(imported("builtins", "exec") + sequence(text(call)) + b"R")
    stack = text("builtins") + text("eval") + b"\x93"
    yield "stack global", b"\x80\x04" + stack + sequence(text(call)) + b"R."
    yield "inst", b"(" + text(name) + b"ios\nmkdir\n."
    made = imported("numpy", "memmap")  # a class that writes a file when it is made
    writes = (text(name), text("u1"), text("w+"), number(0), sequence(number(1)))
    yield "obj", program(b"(" + made + b"".join(writes) + b"o")
    yield "newobj", program(made + sequence(*writes) + b"\x81")
    yield "newobj_ex", b"\x80\x04" + made + sequence(*writes) + b"}\x92."
    walk = imported("builtins", "getattr") + sequence(imported("os", "path"), text("os")) + b"R"
    made = imported("builtins", "getattr") + sequence(walk, text("mkdir")) + b"R"
    yield "getattr", program(made + sequence(text(name)) + b"R")
    dotted = text("os") + text("path.os.mkdir") + b"\x93" + sequence(text(name)) + b"R."
    yield "dotted name", b"\x80\x04" + dotted
    hidden = mapping(w=tensor()) + b"0" + imported("os", "mkdir") + sequence(text(name)) + b"R"
    yield "after the tensors", program(hidden)


def attack_names():
    return [name for name, _ in attacks("marker")]


@FORMATS
@pytest.mark.parametrize("name", attack_names())
def test_attacks_are_refused_and_nothing_runs(write, name, tmp_path):
    marker = tmp_path / "ran"
    path = write(tmp_path / "w.pth", dict(attacks(marker))[name], _0=SIX.tobytes())
    with pytest.raises(ValueError, match="w.pth.*nothing was run.*save the state dict alone"):
        read_weights(path)
    assert not marker.exists()


HIDDEN = ["reduce", "system", "eval", "exec", "newobj", "newobj_ex", "getattr", "dotted name"]
"""Attacks by the instructions that make objects too: beside weights they are inert."""


def hidden_attack(marker, name):
    """The instructions of an attack, without the program around them."""
    whole = pickle.dumps(Attack(marker), 2) if name == "reduce" else dict(attacks(marker))[name]
    return whole[2:-1]


def hidden(attack, place):
    """A checkpoint with an attack beside its weights, as `place` says."""
    return program(
        {
            "optimizer": mapping(state_dict=WEIGHTS, optimizer=attack),
            "state": mapping(state_dict=WEIGHTS, args=made("argparse", "Namespace", attack)),
            "argument": mapping(
                state_dict=WEIGHTS,
                path=imported("pathlib", "PosixPath") + sequence(attack) + b"R",
            ),
            "list": mapping(state_dict=WEIGHTS, loops=b"](" + attack + b"e"),
            "key": mapping(state_dict=WEIGHTS, loops=b"}" + attack + number(1) + b"s"),
            "metadata": mapping(state_dict=WEIGHTS + attack + b"b"),
        }[place]
    )


@FORMATS
@pytest.mark.parametrize("place", ["optimizer", "state", "argument", "list", "key", "metadata"])
@pytest.mark.parametrize("name", HIDDEN)
def test_attacks_beside_weights_are_inert(write, name, place, tmp_path, caplog):
    marker = tmp_path / "ran"
    body = hidden(hidden_attack(marker, name), place)
    held = read_weights(write(tmp_path / "w.pth", body, _0=SIX.tobytes()))
    assert list(held) == ["w"] and not marker.exists()
    assert ("nothing of these was made or run" in caplog.text) == (place != "metadata")
    with pytest.raises(ValueError, match="w.pth.*nothing was run"):
        body = program(mapping(state_dict=mapping(w=tensor(), x=hidden_attack(marker, name))))
        read_weights(write(tmp_path / "w.pth", body, _0=SIX.tobytes()))
    assert not marker.exists()


@pytest.mark.parametrize("place", ["optimizer", "state", "argument", "list", "key", "metadata"])
def test_the_hidden_attacks_are_real(place, tmp_path):
    """The control, with what stands for tensors."""
    marker = tmp_path / "ran"
    body = hidden(hidden_attack(marker, "reduce"), place)
    body = body.replace(WEIGHTS, imported("collections", "OrderedDict") + b")R")
    with contextlib.suppress(TypeError):  # what the attack gave is no path, and no attribute
        pickle.loads(body)
    assert marker.exists()


@pytest.mark.parametrize("name", [n for n in attack_names() if n != "after the tensors"])
def test_the_attacks_are_real(name, tmp_path):
    """The control: Python's own unpickler does run them."""
    marker = tmp_path / "ran"
    pickle.loads(dict(attacks(marker))[name])
    assert marker.exists()


def test_an_attack_before_the_tensors(tmp_path):
    marker = tmp_path / "ran"
    path = tmp_path / "w.pth"
    legacy(path, program(mapping(w=tensor())), system=pickle.dumps(Attack(marker), 2))
    with pytest.raises(ValueError, match="asks for posix.mkdir|asks for nt.mkdir"):
        read_weights(path)
    path.write_bytes(pickle.dumps(Attack(marker)))
    with pytest.raises(ValueError, match="a pickle that torch.save did not write"):
        read_weights(path)
    assert not marker.exists()


@FORMATS
@pytest.mark.parametrize(
    ("body", "said"),
    [
        # allowed names, in ways that tensors never use
        (imported("torch", "FloatStorage") + sequence(number(2**40)) + b"R", "FloatStorage"),
        (imported("collections", "OrderedDict") + mapping(a=number(1)) + b"b", "expected dict"),
        (imported("collections", "OrderedDict") + number(1) + b"R", "calls a Named"),
        (text("x") + sequence() + b"R", "calls a str"),
        (imported("torch._utils", "_rebuild_tensor_v2") + sequence() + b"R", "damaged pickle"),
        (imported("torch._utils", "_rebuild_parameter") + sequence(text("x")) + b"R", "Tensor"),
        (sequence(text("module"), text("a"), text("b")) + b"Q", "a whole module with its code"),
        (sequence(text("storage"), text("x")) + b"Q", "damaged pickle"),
        (b"\x82\x01", "EXT1"),
        (b"Pplace\n", "PERSID"),
        # damaged machines
        (b"R", "damaged pickle"),
        (b"0", "POP"),
        (b"h\x05", "damaged pickle"),
        (b"(u", "damaged pickle"),
        (b"](", "damaged pickle"),
        (b"\xff", "damaged pickle"),
        (b"}(" + text("odd") + b"u", "keys of a dictionary"),
        (b"}" + sequence(number(1)) + number(2) + b"s", "keys of a dictionary"),
        (b"B" + (2**32 - 1).to_bytes(4, "little") + b"x", "damaged pickle"),
        (b"\x8d" + (2**60).to_bytes(8, "little") + b"x", "damaged pickle"),
    ],
)
def test_odd_programs_are_refused(write, body, said, tmp_path):
    with pytest.raises(ValueError, match=f"w.pth.*{said}"):
        read_weights(write(tmp_path / "w.pth", program(body), _0=SIX.tobytes()))


# ---- sizes that lie


@FORMATS
@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"offset": 1}, "tensor w: it reads element 6 of a storage of 6"),
        ({"offset": 2**61}, "tensor w: it reads element"),
        ({"offset": -1}, "expected a count, got -1"),
        ({"shape": (7,)}, "tensor w: it reads element 6"),
        ({"strides": (2,)}, "tensor w: it reads element 10"),
        ({"strides": (-1,)}, "expected a count"),
        ({"shape": (-6,)}, "expected a count"),
        ({"shape": (2**40,), "strides": (0,)}, "larger than the file"),
        ({"shape": (2**61, 2**61), "strides": (0, 0)}, "larger than the file"),
        ({"shape": (2, 3), "strides": (1,)}, "strides"),
        ({"shape": (1,) * 60, "strides": (1,) * 60}, "60 axes"),
        ({"elements": 5, "shape": (5,)}, "storage 0"),
        ({"elements": 2**61}, "storage 0|KeyError|not as declared"),
        ({"kind": "Double"}, "storage 0"),
        ({"kind": "Quantized"}, "asks for torch.QuantizedStorage"),
        ({"key": "../../other"}, "other"),
    ],
)
def test_sizes_that_lie(write, lie, said, tmp_path):
    path = write(tmp_path / "w.pth", program(mapping(w=tensor(**lie))), _0=SIX.tobytes())
    with pytest.raises(ValueError, match=f"w.pth.*({said})"):
        read_weights(path)


def test_a_zip_bomb_is_refused(tmp_path):
    elements = 2**22
    body = program(mapping(w=tensor(elements=elements, shape=(elements,))))
    path = zipped(tmp_path / "w.pth", body, compressed=True, _0=bytes(4 * elements))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"w.pth.*is compressed"):
        read_weights(path)


def test_a_tuple_that_takes_forever_to_hash_is_no_key(tmp_path):
    nested = sequence(number(1))
    for register in range(40):
        nested += b"q" + bytes([register]) + b"h" + bytes([register]) + b"\x86"
    path = zipped(tmp_path / "w.pth", program(b"}" + nested + number(1) + b"s"))
    started = time.monotonic()
    with pytest.raises(ValueError, match="keys of a dictionary"):
        read_weights(path)
    assert time.monotonic() - started < 5


def test_a_program_of_torchscript_is_refused(tmp_path):
    path = zipped(tmp_path / "w.pth", program(mapping(w=tensor())), _0=SIX.tobytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/constants.pkl", b"\x80\x02).")
    with pytest.raises(ValueError, match="TorchScript"):
        read_weights(path)


def test_legacy_storages_are_declared_once_and_in_full(tmp_path):
    path = tmp_path / "w.pth"
    body = program(mapping(a=tensor(), b=tensor(kind="Int")))
    with pytest.raises(ValueError, match="storage 0 is declared in two ways"):
        read_weights(legacy(path, body, _0=SIX.tobytes()))
    with pytest.raises(ValueError, match="storage '1' belongs to no tensor"):
        read_weights(legacy(path, program(mapping(a=tensor())), _0=SIX.tobytes(), _1=b""))
    legacy(path, program(mapping(a=tensor())), _0=SIX.tobytes())
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match="4 bytes follow"):
        read_weights(path)
    view = sequence(
        text("storage"), imported("torch", "FloatStorage"), text("0"), text("cpu"), number(6),
        sequence(text("1"), number(0), number(3)),
    )  # fmt: skip
    odd = program(mapping(a=view + b"Q"))
    with pytest.raises(ValueError, match="expected a whole storage"):
        read_weights(legacy(path, odd, _0=SIX.tobytes()))
    bare = program(mapping(a=storage("0", "Float", 6)))
    with pytest.raises(ValueError, match="no set of tensors"):
        read_weights(legacy(path, bare, _0=SIX.tobytes()))


# ---- damage


@pytest.mark.parametrize("source", [golden.ZIP, golden.LEGACY], ids=lambda path: path.name)
def test_truncated_files_are_named(source, tmp_path):
    whole = source.read_bytes()
    path = tmp_path / "w.pth"
    for kept in [*range(1, 30), *range(30, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match="w.pth"):
            read_weights(path)


def test_a_flipped_bit_is_noticed_in_a_zip(tmp_path):
    whole = golden.ZIP.read_bytes()
    place = whole.index(golden.numbers(np.float64).tobytes()) + 11
    path = tmp_path / "w.pth"
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(ValueError, match=r"w.pth.*CRC"):
        read_weights(path)


@pytest.mark.parametrize("source", [golden.ZIP, golden.LEGACY], ids=lambda path: path.name)
def test_flipped_bytes_give_errors_or_numbers(source, tmp_path):
    """Whatever is damaged, nothing else than ValueError comes out."""
    whole = bytearray(source.read_bytes())
    path = tmp_path / "w.pth"
    random = np.random.RandomState(0)
    for place in random.choice(min(len(whole), 4000), 300, replace=False):
        damaged = whole.copy()
        damaged[place] ^= 1 << random.randint(8)
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except ValueError as error:
            assert "w.pth" in str(error)
