"""Text encoders from folders of transformers and sentence-transformers, and from a hub cache."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from capjax.text import sentence_encoder
from capjax.text.subwords import CLIP_END, CLIP_START
from capjax.weights import load_text_encoder
from tests.golden import bert_outputs, clip_text_outputs
from tests.golden.resnet_torchvision import seeded_state

pytest.importorskip("tokenizers")

WORDS = ("a", "man", "dog", "on", "the", "wave", "rides", "runs", ".", "un", "##aff", "##able")
BERT = {
    "model_type": "bert",
    "vocab_size": bert_outputs.TINY["vocab_size"],
    "hidden_size": bert_outputs.TINY["width"],
    "num_hidden_layers": bert_outputs.TINY["layers"],
    "num_attention_heads": bert_outputs.TINY["heads"],
    "intermediate_size": bert_outputs.TINY["mlp"],
    "max_position_embeddings": bert_outputs.TINY["positions"],
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
CLIP = {
    "model_type": "clip",
    "projection_dim": clip_text_outputs.TINY["projection"],
    "text_config": {
        "vocab_size": clip_text_outputs.TINY["vocab_size"],
        "hidden_size": clip_text_outputs.TINY["width"],
        "num_hidden_layers": clip_text_outputs.TINY["layers"],
        "num_attention_heads": clip_text_outputs.TINY["heads"],
        "intermediate_size": clip_text_outputs.TINY["mlp"],
        "max_position_embeddings": clip_text_outputs.TINY["positions"],
        "eos_token_id": 2,
    },
}
TEXTS = ["a man rides a wave .", "the dog runs", "unaffable", "", "a dog on the wave runs ."]


def write(folder, **files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def weights(folder, golden):
    layout = json.loads(golden.LAYOUT.read_text())
    state = seeded_state({name: tuple(shape) for name, shape in layout.items()})
    save_file(state, folder / "model.safetensors")


@pytest.fixture
def plain(tmp_path):
    """A BERT as transformers saves it, with the vocabulary alone."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    words += [f"w{number}" for number in range(bert_outputs.TINY["vocab_size"] - len(words))]
    files = {"config.json": BERT, "vocab.txt": "\n".join(words) + "\n"}
    write(tmp_path, **files)
    weights(tmp_path, bert_outputs)
    return tmp_path


@pytest.fixture
def sentence(plain):
    """The same with what sentence-transformers adds."""
    kinds = {"": "models.Transformer", "1_Pooling": "models.Pooling", "2": "models.Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.{k}"} for path, k in kinds.items()]
    pooling = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write(
        plain,
        **{
            "modules.json": modules,
            "1_Pooling/config.json": pooling,
            "sentence_bert_config.json": {"max_seq_length": 6},
        },
    )
    return plain


def test_a_folder_of_sentence_transformers(sentence):
    encoder = load_text_encoder(sentence)
    assert (encoder.net.pooling, encoder.net.normalise) == ("mean", True)
    assert encoder.subwords.max_length == 6
    assert encoder.size == bert_outputs.TINY["width"]
    found = encoder.encode(TEXTS)
    assert found.shape == (5, bert_outputs.TINY["width"])
    for text, vector in zip(TEXTS[:2], found, strict=False):
        ids = np.array(encoder.subwords.encode([text]), np.int32)
        assert ids.shape[1] <= 6
        hidden = encoder.net.apply(encoder.variables, ids, np.ones(ids.shape, bool)).hidden
        mean = np.asarray(hidden[0]).mean(0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_newer_files_of_sentence_transformers(sentence):
    write(
        sentence,
        **{
            "1_Pooling/config.json": {"pooling_mode": "cls"},
            "sentence_bert_config.json": {},
            "tokenizer_config.json": {"model_max_length": 5},
        },
    )
    encoder = load_text_encoder(sentence)
    assert (encoder.net.pooling, encoder.subwords.max_length) == ("cls", 5)


def test_a_plain_bert_needs_its_pooling_said(plain):
    with pytest.raises(ValueError, match="names no pooling; .*'mean' | 'cls' | 'pooler'"):
        load_text_encoder(plain)
    encoder = load_text_encoder(plain, pooling="pooler", normalise=True)
    assert encoder.subwords.max_length == bert_outputs.TINY["positions"]
    np.testing.assert_allclose(np.linalg.norm(encoder.encode(TEXTS), axis=1), 1, atol=1e-6)


def test_many_texts_share_few_shapes_and_keep_their_order(sentence, monkeypatch):
    monkeypatch.setattr(sentence_encoder, "LARGEST_BATCH", 4)
    encoder = load_text_encoder(sentence, dtype=jnp.float32)
    traces = sentence_encoder._embed._cache_size()
    together = encoder.encode(TEXTS * 3)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert sentence_encoder._embed._cache_size() - traces <= 3  # of 4, 3 and 1 texts
    np.testing.assert_allclose(together, np.tile(alone, (3, 1)), atol=1e-5)
    assert encoder.encode([]).shape == (0, bert_outputs.TINY["width"])


def test_clip(tmp_path):
    words = [f"{letter}</w>" for letter in "admnogw"] + list("admnogw") + ["do", "dog</w>"]
    words += [
        f"w{number}" for number in range(clip_text_outputs.TINY["vocab_size"] - 2 - len(words))
    ]
    vocabulary = {word: number for number, word in enumerate([*words, CLIP_START, CLIP_END])}
    merges = "#version: 0.2\nd o\ndo g</w>\n"
    write(tmp_path, **{"config.json": CLIP, "vocab.json": vocabulary, "merges.txt": merges})
    weights(tmp_path, clip_text_outputs)
    encoder = load_text_encoder(tmp_path)
    assert (encoder.net.end, encoder.net.projection) == (None, clip_text_outputs.TINY["projection"])
    assert encoder.subwords.pieces("A Dog") == [CLIP_START, "a</w>", "dog</w>", CLIP_END]
    found = encoder.encode(["a dog", "man " * 99, "a dog"])
    np.testing.assert_allclose((found**2).sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(found[0], found[2], atol=1e-6)
    ids = np.array(encoder.subwords.encode(["a dog"]), np.int32)
    exact = encoder.net.apply(encoder.variables, ids).embedding
    np.testing.assert_allclose(found[:1], exact, atol=1e-5)
    with pytest.raises(ValueError, match="CLIP reads its end token"):
        load_text_encoder(tmp_path, pooling="mean")


def test_the_hubs_cache(tmp_path, sentence, monkeypatch):
    pytest.importorskip("huggingface_hub")
    commit = "c" * 40
    model = tmp_path / "cache" / "models--owner--mini"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    for path in sorted(sentence.rglob("*.*")):
        target = model / "snapshots" / commit / path.relative_to(sentence)
        if path.is_file() and "cache" not in path.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load_text_encoder("hf:owner/mini")
    assert encoder.name == f"hf:owner/mini@{commit}"
    np.testing.assert_array_equal(encoder.encode(TEXTS), load_text_encoder(sentence).encode(TEXTS))
    (model / "snapshots" / commit / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_text_encoder("hf:owner/mini")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", {"model_type": "t5"}, "model_type 't5'"),
        ("config.json", {**BERT, "hidden_act": "relu"}, "hidden_act 'relu'"),
        ("config.json", "{", "config.json as JSON"),
        ("config.json", [], "config.json holds a list; expected a dict"),
        ("config.json", {**BERT, "vocab_size": None}, "vocab_size=None; expected a whole number"),
        ("config.json", {k: BERT[k] for k in BERT if k != "vocab_size"}, "has no vocab_size"),
        ("config.json", {**BERT, "layer_norm_eps": "x"}, "layer_norm_eps='x'; expected a number"),
        ("config.json", {**BERT, "pad_token_id": "x"}, "pad_token_id='x'; expected a whole"),
        ("modules.json", [{"path": ""}], "modules.json of .* has no type; expected a text"),
        ("modules.json", [1], "modules.json of .* holds 1"),
        ("sentence_bert_config.json", {"max_seq_length": "x"}, "max_seq_length='x'; expected a"),
        (
            "modules.json",
            [{"path": "", "type": "x.Transformer"}, {"path": "", "type": "x.Dense"}],
            "Dense",
        ),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "max_tokens"),
    ],
)
def test_what_does_not_fit_is_named(sentence, name, content, said):
    write(sentence, **{name: content})
    with pytest.raises(ValueError, match=said):
        load_text_encoder(sentence)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_what_is_missing_is_named(sentence, name):
    (sentence / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_text_encoder(sentence)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load_text_encoder(tmp_path / "nowhere")
