"""A captioner survives its folder, and a folder that is not whole is refused by name."""

import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import SHIPPED, Captioner, build_net, load_captioner, token_log_probs
from capjax.decoders import LSTM, AttentionLSTM, without_added
from capjax.encoders import ConvNet
from capjax.text.vocabulary import Vocabulary
from capjax.types import NO_TOKEN
from tests.compiled import apply, init
from tests.text.byte_pairs import small_byte_pair

TEXT = Vocabulary.build(["a red circle left of a blue square", "a small ring"])


def make(seed=0, decoder=AttentionLSTM, dtype=jnp.float32):
    preprocessing = ConvNet.preprocessing((16, 24))
    net = build_net(
        ConvNet(widths=(8, 8), residuals=(0, 1), dtype=dtype),
        decoder(TEXT.size, 8, hidden=6, embedding=5),
        preprocessing,
    )
    images = jnp.zeros((1, 16, 24, 3), jnp.uint8)
    variables = init(net, jax.random.key(seed), images, jnp.zeros((1, 2), jnp.int32))
    return Captioner(net, variables, TEXT, preprocessing, {"config": "test"})


def images(count=3):
    generator = np.random.default_rng(0)
    return jnp.asarray(generator.integers(0, 256, (count, 16, 24, 3), dtype=np.uint8))


def logits(captioner, tokens):
    return apply(captioner.net, captioner.variables, images(len(tokens)), tokens)


@pytest.mark.parametrize("decoder", [AttentionLSTM, LSTM])
def test_a_saved_captioner_is_the_same_captioner(tmp_path, decoder):
    captioner = make(decoder=decoder, dtype=jnp.bfloat16)
    captioner.save(tmp_path / "model")
    loaded = load_captioner(tmp_path / "model")
    tokens = jnp.array([[4, 5, 2], [6, 7, 8], [4, 4, 2]])
    np.testing.assert_array_equal(logits(loaded, tokens), logits(captioner, tokens))
    assert loaded.net == captioner.net
    assert loaded.hash == captioner.hash
    assert loaded.text.entries == TEXT.entries
    assert loaded.card == {"config": "test"}
    assert loaded.grid == (4, 6)


def test_half_precision_storage_rounds_weights_and_nothing_else(tmp_path):
    captioner = make()
    captioner.save(tmp_path, storage="float16")
    loaded = load_captioner(tmp_path)
    for one, two in zip(
        jax.tree.leaves(captioner.variables), jax.tree.leaves(loaded.variables), strict=True
    ):
        assert two.dtype == jnp.float32
        np.testing.assert_array_equal(np.asarray(one).astype(np.float16), two)


def test_saving_again_replaces_the_model_and_leaves_no_stale_file(tmp_path):
    make(0).save(tmp_path)
    second = make(1)
    second.save(tmp_path)
    assert load_captioner(tmp_path).hash == second.hash
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".json", ".safetensors"]


def test_a_writer_that_dies_before_the_last_rename_leaves_the_old_model(tmp_path, monkeypatch):
    first = make(0)
    first.save(tmp_path)
    rename = os.replace

    def dying(source, target):
        if target.name == "model.json":
            raise OSError("power cut")
        rename(source, target)

    monkeypatch.setattr(os, "replace", dying)
    with pytest.raises(OSError, match="power cut"):
        make(1).save(tmp_path)
    assert load_captioner(tmp_path).hash == first.hash


def test_words_that_are_pieces_travel_with_the_model(tmp_path):
    make().save(tmp_path)
    pieces = small_byte_pair()
    captioner = dataclasses.replace(make(), text=pieces)
    captioner.save(tmp_path)
    loaded = load_captioner(tmp_path)
    assert loaded.text == pieces and loaded.hash == captioner.hash
    assert not (tmp_path / "vocabulary.json").exists()
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_captioner(tmp_path)
    edit(tmp_path / "model.json", text="words.txt")
    with pytest.raises(ValueError, match=r"'words.txt'; expected vocabulary\.json or tokenizer"):
        load_captioner(tmp_path)


def test_a_model_saved_before_there_were_pieces_is_read(tmp_path):
    make().save(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    assert description.pop("text") == "vocabulary.json"
    (tmp_path / "model.json").write_text(json.dumps(description))
    assert load_captioner(tmp_path).hash == make().hash


@pytest.mark.parametrize(
    ("name", "prefix"), [("scenes-soft", "877cb858ff793e59"), ("scenes-frames", "954c76299f99c502")]
)
def test_a_captioner_keeps_its_hash_when_decoders_get_new_fields(name, prefix):
    """Folders of results name the captioner they are of: these are the hashes of version 0.1."""
    assert load_captioner(SHIPPED / name).hash.startswith(prefix)


def test_a_field_that_is_used_is_part_of_the_hash():
    described = {"name": "attention_lstm", "hidden": 4, "projection": 0}
    assert without_added(described) == {"name": "attention_lstm", "hidden": 4}
    assert without_added({**described, "projection": 3}) == {**described, "projection": 3}
    other = {"name": "s2vt", "projection": 0}
    assert without_added(other) == other


def edit(path, **changes):
    body = json.loads(path.read_text())
    body.update(changes)
    path.write_text(json.dumps(body))


def test_damage_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json"):
        load_captioner(tmp_path)
    make().save(tmp_path)
    weights = next(tmp_path.glob("*.safetensors"))
    payload = weights.read_bytes()
    weights.write_bytes(payload[:-1] + bytes([payload[-1] ^ 1]))
    with pytest.raises(ValueError, match="damaged or belongs to another model"):
        load_captioner(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match="safetensors is missing"):
        load_captioner(tmp_path)


def test_another_vocabulary_is_refused_with_both_hashes(tmp_path):
    make().save(tmp_path)
    other = Vocabulary.build(["something else"])
    other.save(tmp_path / "vocabulary.json")
    with pytest.raises(ValueError, match=rf"{other.hash}.*{TEXT.hash}"):
        load_captioner(tmp_path)


def test_another_architecture_is_refused_with_its_names(tmp_path):
    make().save(tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    edit(tmp_path / "model.json", decoder={**description["decoder"], "gate": "vector"})
    with pytest.raises(ValueError, match=r"wrong shape: .*gate_kernel \(6, 1\) \(expected"):
        load_captioner(tmp_path)
    edit(tmp_path / "model.json", decoder={**description["decoder"], "gate": "none"})
    with pytest.raises(ValueError, match="left over: .*gate_bias"):
        load_captioner(tmp_path)
    edit(tmp_path / "model.json", decoder={**description["decoder"], "gates": "none"})
    with pytest.raises(ValueError, match="attention_lstm has no field gates; expected some of: vo"):
        load_captioner(tmp_path)
    edit(tmp_path / "model.json", decoder={"name": "rnn"})
    with pytest.raises(ValueError, match="unknown module 'rnn'; choose one of: attention_lstm"):
        load_captioner(tmp_path)


def test_token_log_probs_are_those_of_a_step_by_step_run():
    captioner = make()
    net, variables = captioner.net, captioner.variables
    features = apply(net, variables, images(), method="encode")
    tokens = jnp.array([[4, 5, 2], [6, 7, 8], [4, 4, 2]])
    batched = token_log_probs(net, variables, features, tokens)
    carry, memory = apply(net, variables, features, method="start")
    previous = jnp.full((3,), NO_TOKEN)
    for t in range(3):
        carry, hidden, _ = apply(net, variables, carry, previous, memory, method="step")
        step = jax.nn.log_softmax(apply(net, variables, hidden, method="readout"))
        np.testing.assert_allclose(batched[:, t], step[jnp.arange(3), tokens[:, t]], atol=1e-5)
        previous = tokens[:, t]


def test_frames_of_clips_are_encoded_like_images():
    captioner = make()
    clips = images(6).reshape(2, 3, 16, 24, 3)
    encode = jax.jit(
        lambda pixels: captioner.net.apply(captioner.variables, pixels, method="encode")
    )
    features, single = encode(clips), encode(images(6))
    assert features.grid == (4, 6)
    assert features.positions.shape == (2, 3, 24, 8) and features.valid.shape == (2, 3, 24)
    assert features.extra.shape == (2, 0, 8)
    np.testing.assert_array_equal(features.positions.reshape(6, 1, 24, 8), single.positions)
    with pytest.raises(ValueError, match=r"got shape \(16, 24, 3\); expected"):
        captioner.net.apply(captioner.variables, clips[0, 0], method="encode")


def test_off_grid_tokens_of_all_frames_belong_to_the_clip():
    captioner = make()
    features = captioner.net.apply(captioner.variables, images(6), method="encode")
    extra = jnp.arange(6 * 2 * 8, dtype=jnp.float32).reshape(6, 2, 8)
    clips = features.replace(extra=extra).as_clips(3)
    np.testing.assert_array_equal(clips.extra, extra.reshape(2, 6, 8))


def test_a_card_does_not_say_where_files_lay(tmp_path):
    card = {"config": {"data": {"root": "/home/someone/data"}, "init_from": "hf:a/b"}, "step": 3}
    dataclasses.replace(make(), card=card).save(tmp_path)
    assert "/home" not in (tmp_path / "model.json").read_text()
    expected = {"config": {"data": {"root": "data"}, "init_from": "hf:a/b"}, "step": 3}
    assert load_captioner(tmp_path).card == expected
