"""ViT-GPT2 from transformers' files: the same logits and captions, and what is refused."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.captioner import load_captioner
from capjax.decoding import Greedy, HuggingFaceBeam, default_decoding, describe
from capjax.evaluate import __main__ as evaluate
from capjax.folder import run as explain_folder
from capjax.weights.encoders import fit_weights
from capjax.weights.tables import TABLES
from capjax.weights.vit_gpt2.captioner import load_vit_gpt2
from capjax.weights.vit_gpt2.config import read_decoder, read_decoding
from tests.golden import vit_gpt2_outputs as golden
from tests.golden.resnet_torchvision import import_torchvision
from tests.reference import small_vit_gpt2
from tests.text.byte_pairs import small_byte_pair
from tests.weights.vit_gpt2_folder import COMMIT, REPO, configs, write_cache, write_folder

SEED = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("transformers") / "model", SEED)


@pytest.fixture(scope="module")
def captioner(folder):
    return load_vit_gpt2(folder)


def test_logits_and_cross_attention_of_transformers():
    net, preprocessing = small_vit_gpt2.make_net()
    variables = small_vit_gpt2.fit(net, small_vit_gpt2.source(0))
    images, tokens = golden.seeded_images()[:3], golden.seeded_tokens()[:3]
    features = net.apply(variables, images, method="encode")
    hidden, attention = net.apply(variables, features, tokens, method="teacher_force")
    logits = net.apply(variables, hidden, method="readout")
    with np.load(golden.OUTPUTS) as stored:
        error = np.abs(logits - stored["logits"]).max() / np.abs(stored["logits"]).max()
        assert error <= 1e-5
        # Theirs has the class token first.
        looked = np.asarray(attention)[:, :, 0]
        np.testing.assert_allclose(looked, stored["attention"][..., 1:], atol=1e-6)
        assert np.abs(looked.sum(-1) - 1).max() > 0.05
    assert preprocessing.size == (golden.SIDE, golden.SIDE)


def test_a_decoder_alone_reads_the_same_file():
    """Older files hold causal masks and a copy of the tied table beside the weights."""
    net, _ = small_vit_gpt2.make_net()
    whole = small_vit_gpt2.fit(net, small_vit_gpt2.source(0))
    source = {
        name.removeprefix("decoder."): value
        for name, value in small_vit_gpt2.source(0).items()
        if name.startswith("decoder.")
    }
    for layer in range(golden.LAYERS):
        for part in ("attn", "crossattention"):
            source[f"transformer.h.{layer}.{part}.bias"] = np.ones((1, 1, 4, 4), np.uint8)
            source[f"transformer.h.{layer}.{part}.masked_bias"] = np.float32(-1e4)
    source["lm_head.weight"] = source["transformer.wte.weight"]
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    features = jax.eval_shape(lambda x: net.apply(whole, x, method="encode"), images)
    tokens = jnp.zeros((1, 2), jnp.int32)
    alone = fit_weights(net.decoder, source, features, tokens, origin="a test")
    ours = whole["params"]["decoder"]
    assert jax.tree.structure(alone["params"]) == jax.tree.structure(ours)
    for one, two in zip(jax.tree.leaves(alone["params"]), jax.tree.leaves(ours), strict=True):
        np.testing.assert_array_equal(one, two)
    assert type(net.decoder) in TABLES


def test_a_folder_becomes_a_captioner(folder, captioner, tmp_path):
    assert captioner.text == load_vit_gpt2(folder).text
    assert captioner.text.lowercase and captioner.text.entries == small_byte_pair().entries
    assert captioner.grid == (2, 2) and captioner.preprocessing.resize == "squash"
    np.testing.assert_allclose(captioner.preprocessing.mean, 127.5)
    assert captioner.net.decoder.start_token == captioner.text.eos
    assert default_decoding(captioner) == (Greedy(), 19)  # of the decoder's part of config.json
    assert set(captioner.card["files"]) == {
        *("config.json", "preprocessor_config.json", "vocab.json", "merges.txt"),
        "model.safetensors",
    }
    # With the library's own file in place of the two, and back through our own format.
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        if path.name not in ("vocab.json", "merges.txt"):
            (other / path.name).symlink_to(path)
    small_byte_pair().save(other / "tokenizer.json")
    assert load_vit_gpt2(other).hash == captioner.hash
    captioner.save(tmp_path / "ours")
    again = load_captioner(tmp_path / "ours")
    assert again.hash == captioner.hash
    assert again.card == {**captioner.card, "source": folder.name}  # no path of this machine
    assert again.net == captioner.net and again.text == captioner.text


def photographs(count=3):
    generator = np.random.default_rng(5)
    return [generator.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(count)]


def test_captions_and_maps_through_the_usual_calls(captioner):
    images = photographs()
    captions = capjax.caption(captioner, images)
    written = [caption.tokens for caption in captions]
    assert all(len(tokens) <= 19 for tokens in written) and len(set(written)) > 1
    methods = ("attention", "gradcam", "caption_guided")
    found = capjax.explain(captioner, images, methods=methods, query="A man's red T-shirt")
    for one in found:
        assert one.words == ("a", "man's", "red", "t-shirt")
        spans = one["attention"].word_spans
        assert spans[-1][1] == len(captioner.text.encode("a man's red t-shirt")) - 1
        for method in methods:
            assert one[method].maps.shape == (4, 1, 2, 2)
            assert np.isfinite(one[method].maps).all()
        # Summed over pieces: a word of several is less likely than each of them.
        log_probs = one.explained.log_probs
        expected = [log_probs[start:end].sum() for start, end in spans]
        np.testing.assert_allclose(one["gradcam"].score, expected, rtol=1e-5)
        mass = np.array(one["attention"].flags["off_grid_mass"])
        np.testing.assert_allclose(one["attention"].maps.sum((1, 2, 3)) + mass, 1, atol=1e-3)
        assert (mass > 0).all()


def edited(folder, tmp_path, name, change):
    """A copy of the folder with one file changed; None removes it."""
    target = tmp_path / "edited"
    target.mkdir()
    for path in folder.iterdir():
        if path.name != name:
            (target / path.name).symlink_to(path)
    if change is not None:
        text = small_byte_pair()
        body = configs(text.size, text.eos).get(name, {})
        (target / name).write_text(json.dumps(change(body)))
    return target


def within(section, **changes):
    return lambda body: {**body, section: {**body[section], **changes}}


CONFIG, PREPROCESSOR, GENERATION = (
    "config.json",
    "preprocessor_config.json",
    "generation_config.json",
)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (CONFIG, lambda b: {**b, "model_type": "blip"}, "model_type='blip'; supported is 'vision-"),
        (CONFIG, within("encoder", model_type="swin"), "model_type='swin'; supported is 'vit'"),
        (CONFIG, within("encoder", hidden_act="relu"), "hidden_act='relu'; supported is 'gelu'"),
        (CONFIG, within("encoder", image_size=48), "resizes to .32, 32., and the encoder's image"),
        (CONFIG, within("decoder", model_type="bert"), "decoder of config.json has model_type="),
        (CONFIG, within("decoder", add_cross_attention=False), "add_cross_attention=False"),
        (CONFIG, within("decoder", activation_function="relu"), "activation_function='relu'"),
        (CONFIG, within("decoder", n_embd=64), "hidden_size is 32 and the decoder's n_embd 64"),
        (CONFIG, within("decoder", n_layer="two"), "n_layer='two'; expected a whole number"),
        (CONFIG, within("decoder", scale_attn_by_inverse_layer_idx=True), "inverse_layer_idx=True"),
        (
            CONFIG,
            within("decoder", n_layer=3),
            r"missing: decoder\.transformer\.h\.2\..* \(ours: params/decoder/block_2",
        ),
        (CONFIG, within("decoder", vocab_size=99), "begin with the token 330 .* 99 embeddings"),
        (
            CONFIG,
            lambda b: within("decoder", vocab_size=99)({**b, "decoder_start_token_id": 1}),
            "has 331 pieces, and the decoder 99 embeddings",
        ),
        (CONFIG, lambda b: {**b, "eos_token_id": [1, 2]}, r"eos_token_id=\[1, 2\]; expected a"),
        (CONFIG, lambda b: {**b, "decoder": None}, "config.json has decoder=None; expected"),
        (CONFIG, lambda b: {**b, "decoder_start_token_id": "x"}, "start_token_id='x'; expected a"),
        (CONFIG, within("encoder", layer_norm_eps=None), "encoder of config.json has layer_norm"),
        (CONFIG, within("encoder", image_size="32"), "image_size='32'; expected a number"),
        (CONFIG, within("decoder", layer_norm_epsilon=None), "layer_norm_epsilon=None; expected a"),
        (CONFIG, within("decoder", n_inner=0.5), "n_inner=0.5; expected a whole number"),
        (PREPROCESSOR, lambda b: {**b, "image_mean": [0.5]}, r"image_mean=\[0.5\]; expected three"),
        (PREPROCESSOR, lambda b: {**b, "image_std": 0.5}, "image_std=0.5; expected three numbers"),
        (PREPROCESSOR, lambda b: {**b, "rescale_factor": 0}, "rescale_factor=0; expected a number"),
        (GENERATION, lambda b: {"num_beams": "four"}, "num_beams='four'; expected a whole number"),
        (GENERATION, lambda b: {"max_length": 1}, "max_length=1; expected a whole number from 2"),
        (GENERATION, lambda b: {"max_new_tokens": 0}, "max_new_tokens=0; expected a whole number"),
        (GENERATION, lambda b: {"length_penalty": "x"}, "length_penalty='x'; expected a number"),
        (GENERATION, lambda b: {"early_stopping": 1}, "early_stopping=1; expected true, false or"),
        (GENERATION, lambda b: {"bos_token_id": True}, "bos_token_id=True; expected a whole"),
        (PREPROCESSOR, lambda b: {**b, "do_center_crop": True}, "do_center_crop=True"),
        (PREPROCESSOR, lambda b: {**b, "resample": 0}, "resample=0; supported are"),
        (PREPROCESSOR, lambda b: {**b, "size": {"shortest_edge": 32}}, "size={'shortest_edge'"),
        (GENERATION, lambda b: {"no_repeat_ngram_size": 3}, "no_repeat_ngram_size=3, which is not"),
        (GENERATION, lambda b: {"do_sample": True}, "do_sample=True, which is not supported"),
    ],
)
def test_what_is_not_supported_is_named(folder, tmp_path, name, change, message):
    with pytest.raises(ValueError, match=message):
        load_vit_gpt2(edited(folder, tmp_path, name, change))


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "preprocessor_config.json", "model.safetensors"),
        *("vocab.json", "merges.txt"),
    ],
)
def test_a_missing_file_is_named(folder, tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"holds no {name}.*or tokenizer.json"):
        load_vit_gpt2(edited(folder, tmp_path, name, None))


@pytest.mark.parametrize(
    ("generation", "config", "decoder", "start"),
    [
        ({"decoder_start_token_id": 1, "bos_token_id": 2}, {"decoder_start_token_id": 3}, {}, 1),
        ({"bos_token_id": 2}, {"decoder_start_token_id": 3, "bos_token_id": 4}, {}, 2),
        ({"decoder_start_token_id": None}, {"decoder_start_token_id": 3, "bos_token_id": 4}, {}, 3),
        ({}, {"decoder_start_token_id": None, "bos_token_id": 4}, {"bos_token_id": 5}, 4),
        ({}, {"bos_token_id": 4}, {"decoder_start_token_id": 6, "bos_token_id": 5}, 6),
        ({}, {}, {"bos_token_id": 5}, 5),
        ({}, {}, {}, 50256),
    ],
)
def test_the_first_token(generation, config, decoder, start):
    """In the order of transformers' GenerationConfig (5.24), which ends at the model's own."""
    whole = {"encoder": {}, **config}
    plain = {"model_type": "gpt2", "add_cross_attention": True, **decoder}
    assert read_decoder({**whole, "decoder": plain}, generation).start_token == start


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("generation", [{"decoder_start_token_id": 5}, {"bos_token_id": 7}, None])
def test_the_first_token_of_transformers(folder, tmp_path, generation):
    """What its own `generate` writes first, and then."""
    torch = pytest.importorskip("torch")
    import_torchvision()  # transformers looks at it
    transformers = pytest.importorskip("transformers")
    target = folder
    if generation:
        stated = {**generation, "eos_token_id": 330, "num_beams": 1, "max_length": 9}
        target = edited(folder, tmp_path, GENERATION, lambda _: stated)
    model = transformers.VisionEncoderDecoderModel.from_pretrained(target).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    scaled = torch.tensor(pixels / 127.5 - 1, dtype=torch.float32).permute(0, 3, 1, 2)
    written = model.generate(scaled, max_length=9, num_beams=1).numpy()
    ours = load_vit_gpt2(target)
    assert written[0, 0] == ours.net.decoder.start_token
    found = capjax.caption(ours, list(pixels), decoding=Greedy(), max_len=8)
    for row, caption in zip(written, found, strict=True):
        assert row[1 : len(caption.tokens) + 1].tolist() == list(caption.tokens)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "generation", [None, {}, {"num_beams": 3}, {"max_length": 6}, {"max_new_tokens": 6}]
)
def test_a_folder_writes_as_generate_does(folder, tmp_path, generation):
    """Without any argument on either side; None: there is no `generation_config.json`."""
    torch = pytest.importorskip("torch")
    import_torchvision()  # transformers looks at it
    transformers = pytest.importorskip("transformers")
    target = folder
    if generation is not None:
        end = small_byte_pair().eos
        ends = {"eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": end}
        target = edited(folder, tmp_path, GENERATION, lambda _: {**ends, **generation})
    model = transformers.VisionEncoderDecoderModel.from_pretrained(target).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    scaled = torch.tensor(pixels / 127.5 - 1, dtype=torch.float32).permute(0, 3, 1, 2)
    written = model.generate(scaled).numpy()
    found = capjax.caption(load_vit_gpt2(target), list(pixels))
    assert max(len(caption.tokens) for caption in found) == written.shape[1] - 1
    for row, caption in zip(written, found, strict=True):
        assert row[1 : len(caption.tokens) + 1].tolist() == list(caption.tokens)


def test_how_a_model_writes_by_default():
    """As `generate` of transformers 5.24: the files, then 20 new tokens and one beam."""
    old = {"decoder": {"max_length": 30, "num_beams": 2, "do_sample": False}}
    page = {"num_beams": 4, "max_length": 16}
    stated = {"num_beams": 3, "max_length": 20, "early_stopping": True, "length_penalty": 2}
    for config, generation, documented, expected in (
        ({}, {}, None, (Greedy(), 20)),
        ({}, None, None, (Greedy(), 20)),
        ({}, {"max_length": None, "num_beams": 4}, None, (HuggingFaceBeam(4), 20)),
        (old, {"num_beams": 4}, None, (HuggingFaceBeam(4), 20)),  # of config.json nothing then
        (old, None, None, (HuggingFaceBeam(2), 29)),
        ({**old, "max_length": 12}, None, None, (HuggingFaceBeam(2), 11)),
        ({**old, "max_length": None}, None, None, (HuggingFaceBeam(2), 29)),
        ({"max_new_tokens": 7, **old}, None, None, (HuggingFaceBeam(2), 7)),
        ({}, stated, page, (HuggingFaceBeam(3, 2.0, True), 19)),
        ({}, {"num_beams": 1, "max_new_tokens": 9, "max_length": 50}, None, (Greedy(), 9)),
        ({}, {"bos_token_id": 3}, page, (HuggingFaceBeam(4), 15)),
        ({}, {"max_length": 30}, page, (HuggingFaceBeam(4), 29)),
        (old, None, page, (HuggingFaceBeam(4), 15)),
    ):
        assert read_decoding(config, generation, documented) == expected
    with pytest.raises(ValueError, match="config.json has no_repeat_ngram_size=2, which is not"):
        read_decoding({"decoder": {"no_repeat_ngram_size": 2}}, None)


def test_an_output_layer_of_its_own_is_refused(folder, tmp_path):
    from safetensors.numpy import save_file

    target = edited(folder, tmp_path, "model.safetensors", None)
    arrays = small_vit_gpt2.source(SEED, vocabulary=small_byte_pair().size)
    table = arrays["decoder.transformer.wte.weight"]
    save_file({**arrays, "decoder.lm_head.weight": table.copy()}, target / "model.safetensors")
    assert load_vit_gpt2(target).hash == load_vit_gpt2(folder).hash
    save_file({**arrays, "decoder.lm_head.weight": table + 1}, target / "model.safetensors")
    with pytest.raises(ValueError, match="output layer .* of its own"):
        load_vit_gpt2(target)
    save_file({**arrays, "enc_to_dec_proj.bias": table}, target / "model.safetensors")
    with pytest.raises(ValueError, match=r"left over: enc_to_dec_proj\.bias"):
        load_vit_gpt2(target)


def test_load_knows_the_three_kinds_of_folders(folder, captioner, tmp_path):
    assert capjax.load(folder).hash == captioner.hash
    (tmp_path / "config.json").write_text("{}")  # a workdir before its first evaluation
    with pytest.raises(ValueError, match=r"holds no model\.json"):
        capjax.load(tmp_path)


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    write_cache(tmp_path / "hub", folder)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_commands_on_a_model_of_the_hub(hub, captioner, capsys):
    """Both commands, offline, from the cache alone."""
    (hub / "photographs").mkdir()
    for number, pixels in enumerate(photographs()):
        Image.fromarray(pixels).save(hub / "photographs" / f"{number}.png")
    sentence = {"raw": "a man in the snow", "tokens": "a man in the snow".split()}
    entries = [
        {"imgid": n, "filename": f"{n}.png", "split": "test", "sentences": [sentence]}
        for n in range(3)
    ]
    captions = hub / "captions.json"
    captions.write_text(json.dumps({"images": entries, "dataset": "coco"}))
    model, images = f"--model=hf:{REPO}", f"--images={hub / 'photographs'}"
    out = f"--out={hub / 'out'}"
    assert explain_folder.main([model, images, out, "--methods=attention"]) == 0
    described = json.loads((hub / "out" / "run.json").read_text())
    assert described["decoding"] == describe(HuggingFaceBeam(4), 15)
    assert described["model_hash"] == captioner.hash and described["model"] == f"hf:{REPO}"
    lines = (hub / "out" / "results.jsonl").read_text().splitlines()
    found = capjax.load(f"hf:{REPO}")
    assert default_decoding(found) == (HuggingFaceBeam(4), 15)
    assert default_decoding(captioner) == (Greedy(), 19)  # the same files, and no page
    assert [json.loads(line)["caption"] for line in lines] == [
        caption.text for caption in capjax.caption(found, photographs())
    ]
    assert explain_folder.main([model, images, out, "--beam=2"]) == 2
    assert "decoding is {'method': 'huggingface', 'width': 2" in capsys.readouterr().err
    metrics = hub / "metrics.json"
    scoring = [model, images, f"--captions={captions}", f"--out={metrics}"]
    assert evaluate.main([*scoring, "--batch-size=4"]) == 0
    card = json.loads(metrics.read_text())["card"]
    assert card["decoding"] == describe(HuggingFaceBeam(4), 15)


def test_a_hub_model_is_pinned_to_its_commit(hub, captioner):
    found = capjax.load(f"hf:{REPO}")
    assert found.hash == captioner.hash
    assert found.card["source"] == f"hf:{REPO}@{COMMIT}"
    assert capjax.load(found.card["source"]).hash == captioner.hash
    assert len(found.card["files"]["model.safetensors"]["sha256"]) == 64
    with pytest.raises(ValueError, match=r"a whole repository: leave out /model\.safetensors"):
        capjax.load(f"hf:{REPO}/model.safetensors")
    with pytest.raises(FileNotFoundError, match="config.json of owner/other .* in the cache"):
        capjax.load("hf:owner/other")


def test_a_cache_that_lacks_settings(hub, captioner, caplog):
    """Not fetched is not the same as not there: the log says what was assumed."""
    assert capjax.load(f"hf:{REPO}").hash == captioner.hash
    (told,) = caplog.messages
    assert "generation_config.json is not in the cache" in told and f"hf download {REPO}" in told
    caplog.clear()
    folder = hub / "hub" / f"models--{REPO.replace('/', '--')}"
    marker = folder / ".no_exist" / COMMIT / "generation_config.json"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert capjax.load(f"hf:{REPO}").hash == captioner.hash
    marker.unlink()
    listed = {"files": {path.name: {} for path in (folder / "snapshots" / COMMIT).iterdir()}}
    (folder / "trees").mkdir()
    (folder / "trees" / f"{COMMIT}.json").write_text(json.dumps(listed))
    assert capjax.load(f"hf:{REPO}").hash == captioner.hash
    assert not caplog.messages


def test_offline_says_what_a_captioner_needs(hub):
    with pytest.raises(FileNotFoundError) as failure:
        capjax.load("hf:owner/none")
    text = str(failure.value)
    assert "hf download owner/none, and copy the folder" in text
    assert "merges.txt (or tokenizer.json)" in text and "give their folder's path" in text
