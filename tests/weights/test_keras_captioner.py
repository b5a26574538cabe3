"""A captioner that Keras made and saved: the same probabilities, and what is refused."""

import gzip
import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import load_captioner, token_log_probs
from capjax.encoders import efficientnet
from capjax.text.keras_words import read_word_ids
from capjax.text.vocabulary import Vocabulary
from capjax.weights.__main__ import main
from capjax.weights.keras.captioner import NEVER, load_keras_captioner
from tests.golden import keras_captioner as golden

h5py = pytest.importorskip("h5py")


@pytest.fixture(autouse=True)
def _tiny_encoder(monkeypatch):
    monkeypatch.setitem(efficientnet.SIZES, "tiny", golden.TINY)


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "EfficientNetV2L_lstm_model.h5"
    path.write_bytes(gzip.decompress(golden.MODEL.read_bytes()))
    return path


def expected():
    """[N 12] of Keras, by its own rows."""
    with np.load(golden.OUTPUTS) as archive:
        return archive["log_probabilities"]


def test_equals_keras(model_file):
    captioner = load_keras_captioner(model_file, golden.WORDS)
    images, _ = golden.steps()
    net, text = captioner.net, captioner.text
    assert isinstance(text, Vocabulary)
    encode = jax.jit(lambda v, x: net.apply(v, x, method="encode"))
    features = encode(captioner.variables, golden.pixels())
    theirs = [*golden.ENTRIES].index
    for image, caption in enumerate(golden.CAPTIONS):
        tokens = jnp.array([text.encode(caption)])
        of_image = jax.tree.map(lambda leaf, i=image: leaf[i : i + 1], features)
        hidden, _ = net.apply(captioner.variables, of_image, tokens, method="teacher_force")
        logits: Any = net.apply(captioner.variables, hidden, method="readout")
        ours = np.asarray(jax.nn.log_softmax(logits))[0]
        keras = expected()[images == image]
        assert len(ours) == len(keras)
        names = {"<start>": "startseq", "<end>": "endseq", "<unk>": "unk"}
        for number, entry in enumerate(text.entries):
            row = 0 if entry == "<pad>" else theirs(names.get(entry, entry)) + 1
            np.testing.assert_allclose(ours[:, number], keras[:, row], atol=1e-5)
        chosen = token_log_probs(net, captioner.variables, of_image, tokens)
        words = [*caption.split(), "endseq"]
        by_hand = [keras[t, theirs(word) + 1] for t, word in enumerate(words)]
        np.testing.assert_allclose(chosen[0], by_hand, atol=1e-5)


def test_keras_says_something():
    """Its distributions differ from word to word and from image to image."""
    images, before = golden.steps()
    first = expected()[before[:, -2] == 0]
    assert len(first) == 3
    assert np.abs(first[0] - first[1]).max() > 0.1
    of_first = expected()[images == 0]
    assert np.abs(np.diff(of_first, axis=0)).max(axis=1).min() > 0.1


def test_it_is_a_captioner(model_file, tmp_path):
    captioner = load_keras_captioner(model_file, golden.WORDS)
    assert captioner.preprocessing.size == (golden.SIDE, golden.SIDE)
    assert captioner.preprocessing.mean == (128.0,) * 3
    assert captioner.card["imported"]["from"] == model_file.name
    captioner.save(tmp_path / "saved")
    assert load_captioner(tmp_path / "saved").hash == captioner.hash


def test_it_is_converted_by_the_command(model_file, tmp_path, capsys):
    out = tmp_path / "captioner"
    arguments = ["convert", str(model_file), f"--vocabulary={golden.WORDS}", f"--out={out}"]
    assert main(arguments) == 0
    assert load_captioner(out).hash in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--encoder=resnet"])
    assert "leave out --encoder" in capsys.readouterr().err


def test_the_encoder_may_be_a_file_of_its_own(model_file, tmp_path):
    parts = {"encoder.h5": True, "decoder.h5": False}
    for name, of_encoder in parts.items():
        shutil.copy(model_file, tmp_path / name)
        with h5py.File(tmp_path / name, "r+") as file:
            del file.attrs["model_config"]
            group = file["model_weights"]
            layers = list(group.attrs["layer_names"])
            kept = [layer for layer in layers if layer.startswith("efficientnet") == of_encoder]
            group.attrs["layer_names"] = kept
    with pytest.raises(ValueError, match="encoder_weights"):
        load_keras_captioner(tmp_path / "decoder.h5", golden.WORDS)
    joined = load_keras_captioner(
        tmp_path / "decoder.h5", golden.WORDS, encoder_weights=tmp_path / "encoder.h5"
    )
    assert joined.hash == load_keras_captioner(model_file, golden.WORDS).hash


def test_an_entry_that_is_lacking_is_never_written(model_file, tmp_path):
    words = tmp_path / "vocab.txt"
    words.write_text(golden.WORDS.read_text().replace("unk\n", "cat\n"))
    captioner = load_keras_captioner(model_file, words)
    head = captioner.variables["params"]["decoder"]
    assert head["head_bias"][captioner.text.unk] == NEVER
    assert not np.any(head["head_kernel"][:, captioner.text.unk])
    assert captioner.text.encode("cat")[0] != captioner.text.unk


def edited(model_file, change):
    with h5py.File(model_file, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            change(layer)
        file.attrs["model_config"] = json.dumps(config)
    return model_file


@pytest.mark.parametrize(
    ("kind", "key", "value", "said"),
    [
        ("Embedding", "mask_zero", False, "mask_zero=False"),
        ("LSTM", "recurrent_activation", "hard_sigmoid", "hard_sigmoid"),
        ("LSTM", "go_backwards", True, "go_backwards"),
        ("Dense", "activation", "tanh", "activation='tanh'"),
    ],
)
def test_other_settings_are_refused(model_file, kind, key, value, said):
    def change(layer):
        if layer["class_name"] == kind:
            layer["config"][key] = value

    with pytest.raises(ValueError, match=said):
        load_keras_captioner(edited(model_file, change), golden.WORDS)


@pytest.mark.parametrize(
    "kind", ["Concatenate", "Multiply", "Average", "Maximum", "Subtract", "Attention"]
)
def test_another_architecture_is_refused(model_file, kind):
    def change(layer):
        if layer["class_name"] == "Add":
            layer["class_name"] = kind

    with pytest.raises(ValueError, match=f"layer 'add' of class {kind}.*their sum"):
        load_keras_captioner(edited(model_file, change), golden.WORDS)


def test_another_encoder_is_refused(model_file):
    def change(layer):
        for inner in layer["config"].get("layers", ()):
            if inner["config"]["name"] == "avg_pool":
                inner["class_name"] = "GlobalMaxPooling2D"

    with pytest.raises(ValueError, match="'avg_pool' of class GlobalMaxPooling2D in the encoder"):
        load_keras_captioner(edited(model_file, change), golden.WORDS)


def in_the_words_of_keras_2(layer):
    """Its joints as TensorFlow's Keras writes them: [name, node, tensor, keywords]."""
    if not layer["inbound_nodes"]:
        return
    tensors = layer["inbound_nodes"][0]["args"][0]
    tensors = tensors if isinstance(tensors, list) else [tensors]
    layer["inbound_nodes"] = [[[*tensor["config"]["keras_history"], {}] for tensor in tensors]]


def as_keras_3_wrote_it(layer):
    del layer


def joined(old, new):
    """Replaces the input `old` of a layer in either form."""

    def change(layer, name):
        if layer["config"]["name"] == name:
            text = json.dumps(layer["inbound_nodes"])
            assert f'["{old}", 0, 0' in text
            layer["inbound_nodes"] = json.loads(text.replace(f'["{old}", 0', f'["{new}", 0'))

    return change


@pytest.mark.parametrize("form", [as_keras_3_wrote_it, in_the_words_of_keras_2])
@pytest.mark.parametrize(
    ("layer", "old", "new", "said"),
    [
        # The image goes into the LSTM (Vinyals et al. 2015): where embedding and state have one
        # size, the weights are the same as of the merge model.
        ("lstm", "dropout_1", "add", "lstm reads add, not embedding"),
        ("add", "lstm", "dropout_1", "add reads dense, embedding, not dense and lstm"),
        ("dense_1", "add", "lstm", "dense_1 reads lstm, not add"),
        ("dense_2", "dense_1", "dense", "dense_2 reads dense, not dense_1"),
    ],
)
def test_other_joints_are_refused(model_file, form, layer, old, new, said):
    load_keras_captioner(edited(model_file, form), golden.WORDS)
    change = joined(old, new)
    with pytest.raises(ValueError, match=said):
        load_keras_captioner(edited(model_file, lambda one: change(one, layer)), golden.WORDS)


def test_one_sum(model_file):
    with h5py.File(model_file, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        second = next(layer for layer in layers if layer["class_name"] == "Add")
        layers.append({**second, "config": {**second["config"], "name": "add_1"}})
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(ValueError, match="2 layers Add outside the encoder"):
        load_keras_captioner(model_file, golden.WORDS)


def test_the_encoder_may_lie_among_the_layers(model_file):
    """As where the captioner is built on the encoder's own input and output."""
    whole = load_keras_captioner(model_file, golden.WORDS)
    with h5py.File(model_file, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        (inner,) = (layer for layer in layers if layer["class_name"] == "Functional")
        layers.remove(inner)
        layers[:0] = inner["config"]["layers"]
        file.attrs["model_config"] = json.dumps(config)
    assert load_keras_captioner(model_file, golden.WORDS).hash == whole.hash


def test_layers_that_are_not_described(model_file):
    def change(layer):
        if layer["config"]["name"] == "dense_2":
            layer["config"]["name"] = "words"

    with pytest.raises(ValueError, match="describes no layers dense_2"):
        load_keras_captioner(edited(model_file, change), golden.WORDS)


def test_another_size_is_refused(model_file, monkeypatch):
    monkeypatch.delitem(efficientnet.SIZES, "tiny")
    with pytest.raises(ValueError, match="4 blocks.*s, m, l.*40, 57, 79"):
        load_keras_captioner(model_file, golden.WORDS)


WORDS = {"startseq": 1, "endseq": 2, "a": 3, "dog": 4}


@pytest.mark.parametrize(
    "text",
    [
        "startseq\nendseq\na\ndog\n",
        "<pad>\nstartseq\nendseq\na\ndog\n",
        "dog 4\na 3\nendseq 2\nstartseq 1\n",
        "dog\t4\na\t3\nendseq: 2\nstartseq,1",
        '{"startseq": 1, "endseq": 2, "a": 3, "dog": 4}',
        "{'startseq': 1, 'endseq': 2, 'a': 3, 'dog': 4}",
        "{1: 'startseq', 2: 'endseq', 3: 'a', 4: 'dog'}",
    ],
)
def test_forms_of_lists(tmp_path, text):
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    words = read_word_ids(path, entries=5)
    assert {word: row for word, row in words.ids.items() if row} == WORDS
    assert (words.start, words.end, words.pad, words.unknown) == (1, 2, 0, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("startseq\nendseq\na\n", "3 lines.*5 rows"),
        ("startseq\nendseq\na\na\n", "3 of them different"),
        ("a\nb\nendseq\ndog\n", "no word that begins"),
        ("startseq\nb\na\ndog\n", "no word that ends"),
        ("a\nstartseq\nendseq\ndog\ncat\n", "row 0 to 'a'"),
        ("startseq 1\nendseq 2\na 3\ndog 9\n", "'dog': 9"),
        ("startseq 1\nendseq 2\na 3\n", r"no word for the rows \[4\]"),
        ("{'startseq': print(1)}", "as a dictionary"),
        ("{'startseq': 'a'}", "no dictionary of words"),
    ],
)
def test_lists_that_do_not_fit(tmp_path, text, said):
    path = tmp_path / "vocab.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_word_ids(path, entries=5)


def test_lists_in_other_encodings_and_with_odd_blanks_in_words(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("startseq\r\nendseq\r\na\u2028b\r\n\u00a0\r\n".encode("utf-8-sig"))
    assert list(read_word_ids(path, entries=5).ids) == ["startseq", "endseq", "a\u2028b", "\u00a0"]
    path.write_text("startseq\nendseq\na\ndog\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"vocab\.txt is not in UTF-8.*save it as UTF-8"):
        read_word_ids(path, entries=5)


def test_a_lacking_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt"):
        read_word_ids(tmp_path / "vocab.txt", entries=5)
