"""The hub's cache, laid out as huggingface_hub lays it out, without a network."""

import hashlib
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from safetensors.numpy import save

from capjax.config import experiment as settings
from capjax.encoders import ResNet
from capjax.evaluate import __main__ as evaluate
from capjax.experiment.data import build_vocabulary, load_splits
from capjax.experiment.model import build_model
from capjax.weights import load_encoder_weights, read_weights
from capjax.weights.hub import AbsentError, Repository, UnreachableError, hub_file
from capjax.weights.hub_address import parse_hub
from capjax.weights.model_files import ModelFiles
from tests.golden import resnet_torchvision as golden
from tests.train.tiny import shrink, write_dataset

pytest.importorskip("huggingface_hub")

OLD, NEW = "a" * 40, "b" * 40
REPO = "models--owner--net.v1"


def store(cache, commit, name, content, *, ref=None):
    """One file, as a blob by its digest and a link to it from the snapshot of a commit."""
    folder = cache / REPO
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / commit / name
    for path in (blob, link):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    if ref:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    return blob.name


def tensors(value):
    return save({"w": np.full(3, value, np.float32)})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_the_branch_is_resolved_to_its_commit(cache):
    store(cache, OLD, "model.safetensors", tensors(1.0))
    digest = store(cache, NEW, "model.safetensors", tensors(2.0), ref="main")
    found = hub_file("hf:owner/net.v1")
    assert (found.repo, found.revision, found.file) == ("owner/net.v1", NEW, "model.safetensors")
    assert found.sha256 == digest
    assert read_weights(found)["w"].tolist() == [2, 2, 2]
    assert found.described() == {
        "source": f"hf:owner/net.v1@{NEW}/model.safetensors",
        "sha256": digest,
    }
    assert hub_file(found.spec) == found


def test_a_revision_is_pinned(cache):
    store(cache, NEW, "model.safetensors", tensors(2.0), ref="main")
    store(cache, OLD, "model.safetensors", tensors(1.0), ref="v1.0")
    for revision in (OLD, "v1.0"):
        found = hub_file(f"hf:owner/net.v1@{revision}")
        assert found.revision == OLD
        assert read_weights(found)["w"].tolist() == [1, 1, 1]
    with pytest.raises(FileNotFoundError, match="net.v1 .revision v2.0. in the cache"):
        hub_file("hf:owner/net.v1@v2.0")


def test_which_file_is_taken(cache):
    store(cache, NEW, "pytorch_model.bin", b"older", ref="main")
    assert hub_file("hf:owner/net.v1").file == "pytorch_model.bin"
    store(cache, NEW, "model.safetensors", tensors(1.0))
    assert hub_file("hf:owner/net.v1").file == "model.safetensors"
    store(cache, NEW, "sub/config.json", b"{}")
    named = hub_file("hf:owner/net.v1@main/sub/config.json")
    assert named.path.read_bytes() == b"{}"


def test_shards_come_with_their_index(cache):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    store(cache, NEW, "model.safetensors.index.json", json.dumps(index).encode(), ref="main")
    store(cache, NEW, "model-1.safetensors", save({"a": np.ones(2, np.float32)}))
    with pytest.raises(FileNotFoundError, match=f"no model-2.safetensors .*revision {NEW}"):
        hub_file("hf:owner/net.v1")
    store(cache, NEW, "model-2.safetensors", save({"b": np.zeros(1, np.float32)}))
    assert set(read_weights(hub_file("hf:owner/net.v1"))) == {"a", "b"}


def test_offline_says_what_to_put_where(cache):
    with pytest.raises(FileNotFoundError) as failure:
        hub_file("hf:owner/net.v1/weights.bin")
    text = str(failure.value)
    assert "no weights.bin of owner/net.v1 (revision main) in the cache" in text
    assert "HF_HUB_OFFLINE" in text
    assert "hf download owner/net.v1 weights.bin" in text
    assert f"{REPO} of that machine's cache into {cache}" in text
    assert "owner/net.v1/resolve/main/weights.bin" in text


@pytest.fixture
def unanswered(cache, monkeypatch):
    """A hub that cannot be reached, without HF_HUB_OFFLINE; counts who asks."""
    import huggingface_hub

    monkeypatch.delenv("HF_HUB_OFFLINE")
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise ConnectionError("no route to host")

    def waits(*_, **__):
        raise AssertionError("a download tries again and again before it gives up")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", waits)
    return asked


def test_a_hub_that_does_not_answer_is_asked_once(unanswered, cache, caplog):
    with pytest.raises(UnreachableError, match=r"no route to host; .*HF_HUB_OFFLINE=1") as failure:
        hub_file("hf:owner/net.v1")
    assert isinstance(failure.value.__cause__, ConnectionError)
    assert len(unanswered) == 1  # of four names
    assert "net.v1 (revision main) is looked for in the cache alone" in caplog.text
    store(cache, NEW, "pytorch_model.bin", b"older", ref="main")
    assert hub_file("hf:owner/net.v1").revision == NEW
    assert len(unanswered) == 2
    assert hub_file(f"hf:owner/net.v1@{NEW}/pytorch_model.bin").revision == NEW
    assert len(unanswered) == 2  # a commit in the cache is not asked for


def test_what_the_hub_answers(cache, monkeypatch):
    """A commit is pinned by the first file; absent and unreachable are told apart."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, **_: None)
    asked = []

    def download(repo, name, *, revision, cache_dir):
        asked.append((name, revision))
        if name == "lost.json":
            raise LocalEntryNotFoundError("the connection broke")
        if name == "slow.json":
            raise HTTPError("read timed out")
        if name != "config.json":
            raise EntryNotFoundError(name)
        store(cache, NEW, name, b"{}", ref="main")
        return str(cache / REPO / "snapshots" / NEW / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    repository = Repository(parse_hub("hf:owner/net.v1"))
    assert repository.first(["model.bin", "config.json"]).revision == NEW
    with pytest.raises(AbsentError, match="the hub has no model.bin"):
        repository.file("model.bin")
    with pytest.raises(UnreachableError, match="no lost.json of owner/net.v1"):
        repository.file("lost.json")
    with pytest.raises(UnreachableError, match=r"no slow.json .*HTTPError: read timed out"):
        repository.file("slow.json")
    with pytest.raises(AbsentError, match=r"no a or b in owner/net.v1 .*name one: hf:"):
        repository.first(["a", "b"])
    whole = Repository(parse_hub("hf:owner/net.v1"), folder="config.json and weights")
    with pytest.raises(AbsentError, match="a model needs config.json and weights"):
        whole.file("a")
    asked.pop()
    assert asked == [
        *(("model.bin", None), ("config.json", None)),
        *((name, NEW) for name in ("model.bin", "lost.json", "slow.json", "a", "b")),
    ]
    found = ModelFiles("it", repository.first, repository)
    assert found.find("absent.json") is None
    with pytest.raises(UnreachableError):  # it answered before: nothing is assumed
        found.find("lost.json")


def test_home_names_the_cache_too(cache, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(cache))
    store(cache / "hub", NEW, "model.safetensors", tensors(1.0), ref="main")
    assert hub_file("hf:owner/net.v1").revision == NEW


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:a/b", ("a/b", None, None)),
        ("hf:timm/resnet50.tv_in1k@v1", ("timm/resnet50.tv_in1k", "v1", None)),
        ("hf:a/b/c/d.bin", ("a/b", None, "c/d.bin")),
        ("hf:a/b@main/c.bin", ("a/b", "main", "c.bin")),
        ("hf:a/b@refs/pr/3", ("a/b", "refs/pr/3", None)),
        ("hf:a/b@refs/pr/3/c/d.bin", ("a/b", "refs/pr/3", "c/d.bin")),
        ("hf:a/b@feature%2Fx/c.bin", ("a/b", "feature/x", "c.bin")),
    ],
)
def test_addresses(text, parts):
    spec = parse_hub(text)
    assert (spec.repo, spec.revision, spec.file) == parts
    assert str(spec) == text


@pytest.mark.parametrize(
    "text", ["hf:a", "hf:a/b@", "hf:a/b/../c", "hf:../b", "hf:a/b@../c", "hf:a/b/c@d", "a/b", "hf:"]
)
def test_other_addresses_are_refused(text):
    with pytest.raises(ValueError, match="expected hf:owner/name"):
        parse_hub(text)


def test_an_encoder_from_the_hub(cache):
    layout = json.loads(golden.LAYOUTS.read_text())["18"]
    state = golden.seeded_state({name: tuple(shape) for name, shape in layout.items()})
    store(cache, NEW, "model.safetensors", save(state), ref="main")
    loaded = load_encoder_weights(ResNet(depth=18), "hf:owner/net.v1")
    kernel = loaded["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, state["conv1.weight"].transpose(2, 3, 1, 0))
    with pytest.raises(ValueError, match=r"(?s)hf:owner/net.v1 \(for ResNet\).*missing"):
        load_encoder_weights(ResNet(depth=34), "hf:owner/net.v1")


def test_an_experiment_records_its_weights(cache, tmp_path):
    layout = json.loads(golden.LAYOUTS.read_text())["18"]
    state = golden.seeded_state({name: tuple(shape) for name, shape in layout.items()})
    digest = store(cache, NEW, "model.safetensors", save(state), ref="main")
    root = write_dataset(tmp_path / "data")
    config = settings.ExperimentConfig(
        encoder=settings.encoder_section("resnet", depth=18, stage=1),
        decoder=settings.decoder_section("lstm"),
    )
    weights = shrink_to(config, root, "hf:owner/net.v1").weights
    assert weights["source"] == f"hf:owner/net.v1@{NEW}/model.safetensors"
    assert weights["sha256"] == digest
    file = str(cache / REPO / "blobs" / digest)
    assert shrink_to(config, root, file).weights == {"source": file, "sha256": digest}
    assert shrink_to(config, root, "").weights == {}


def shrink_to(config, root, weights):
    config = shrink(config, root)
    config.encoder.weights = weights
    config = settings.resolve(config)
    vocabulary = build_vocabulary(config, load_splits(config.data)[0])
    return build_model(config, vocabulary, jax.random.key(0))


def test_nothing_of_the_hub_is_imported_with_the_package():
    code = "import sys, capjax.weights; print({'huggingface_hub', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_the_extra(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"capjax\[hub\]"):
        hub_file("hf:owner/net.v1")


def test_commands_without_the_extra(cache, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    arguments = ["--model=hf:owner/net.v1", "--captions=absent.json", f"--out={cache / 'o.json'}"]
    assert evaluate.main(arguments) == 2
    assert "capjax[hub]" in capsys.readouterr().err
