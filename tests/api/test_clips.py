"""Clips through the Python door and through explain.py: files, arrays, and what goes wrong."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from capjax import api
from capjax.captioner import Captioner, build_net
from capjax.data.pictures.clips import load_clip, load_prepared_clip
from capjax.data.pictures.finding import find_images
from capjax.decoders import S2VT
from capjax.decoding import Greedy
from capjax.encoders import ConvNet
from capjax.explainers.word_losses import word_losses
from capjax.folder.run import main
from tests.api.conftest import photograph
from tests.data.movies import RATE, write_movie
from tests.explainers.toys import PREPROCESSING, TEXT, attentive, randomised

pytest.importorskip("av", reason="needs the extra `video`")
FRAMES = 3


def make(decoder) -> Captioner:
    preprocessing = dataclasses.replace(PREPROCESSING, size=(32, 32), frames=FRAMES)
    net = build_net(ConvNet(widths=(8, 24), residuals=(0, 0)), decoder, preprocessing)
    return Captioner(net, randomised(net, preprocessing), TEXT, preprocessing)


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return make(S2VT(TEXT.size, 24, hidden=16, embedding=10, scan="frames"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three clips in three containers, an animation, a photograph and a broken clip."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("one.mp4", "two.avi", "below/three.webm")):
        (folder / name).parent.mkdir(exist_ok=True)
        first, last = photograph(number, 48, 64), photograph(number + 9, 48, 64)
        shares = np.linspace(0, 1, 5 + number)
        frames = [(first * (1 - share) + last * share).astype(np.uint8) for share in shares]
        write_movie(folder / name, frames)
    pictures = [Image.fromarray(photograph(seed, 30, 40)) for seed in range(4)]
    pictures[0].save(folder / "four.gif", save_all=True, append_images=pictures[1:], duration=100)
    pictures[0].save(folder / "still.png")
    (folder / "broken.mkv").write_text("no clip")
    return folder


CLIPS = ("below/three.webm", "four.gif", "one.mp4", "still.png", "two.avi")


@pytest.fixture(scope="module")
def explained(captioner, folder, tmp_path_factory):
    model, out = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("out") / "out"
    captioner.save(model)
    options = [f"--model={model}", f"--images={folder}", f"--out={out}", "--max-length=6"]
    code = main([*options, "--methods=caption_guided", "--batch-size=6", "--beam=1"])
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return out, code, {line["file"]: line for line in lines}


def test_a_folder_of_clips_is_explained_and_a_broken_one_listed(explained):
    out, code, results = explained
    assert code == 3 and set(results) == {*CLIPS, "broken.mkv"}
    assert "broken.mkv: InvalidDataError" in results["broken.mkv"]["error"]
    for name in CLIPS:
        result = results[name]
        words = len(result["words"])
        assert result["frames"] == FRAMES == len(result["seconds"])
        with np.load(out / result["methods"]["caption_guided"]["maps"]) as maps:
            assert maps["caption_guided"].shape == (words, FRAMES, 8, 8)
            assert maps["caption_guided.frames"].shape == (words, FRAMES)
        with Image.open(out / "thumbnails" / f"{name}.jpg") as sprite:
            size = (40, 30) if name in ("four.gif", "still.png") else (64, 48)
            assert sprite.size == (FRAMES * size[0], size[1])
        Image.open(out / result["methods"]["caption_guided"]["overlay"]).load()
    assert results["one.mp4"]["seconds"] == [0, 2 / RATE, 4 / RATE]
    assert results["four.gif"]["seconds"] == [0, 0.2, 0.3]
    assert results["still.png"]["seconds"] == [0, 0, 0]
    page = (out / "index.html").read_text("utf-8")
    assert page.count('<article class="item') == len(CLIPS) and "3 frames" in page


def test_thumbnails_are_the_frames_side_by_side(explained, folder):
    out, _, _ = explained
    with Image.open(out / "thumbnails" / "one.mp4.jpg") as sprite:
        shown = np.asarray(sprite, int).reshape(48, FRAMES, 64, 3).swapaxes(0, 1)
    assert np.abs(shown - load_clip(folder / "one.mp4", FRAMES).frames).mean() < 6


def test_both_doors_agree_on_files_arrays_and_batches(captioner, folder, explained):
    _, _, results = explained
    path = folder / "one.mp4"
    clip = load_clip(path, FRAMES).frames
    options = {"decoding": Greedy(), "max_len": 6}
    captions = api.caption(captioner, [path, clip, folder / "two.avi"], batch_size=6, **options)
    (alone,) = api.caption(captioner, clip, **options)
    assert captions[0].tokens == captions[1].tokens == alone.tokens
    assert captions[0].text == results["one.mp4"]["caption"]
    assert captions[2].text == results["two.avi"]["caption"]
    (found,) = api.explain(captioner, path, methods=["caption_guided"], **options)
    assert found["caption_guided"].maps.shape == (len(found.words), FRAMES, 8, 8)
    np.testing.assert_array_equal(found.image, clip)
    np.testing.assert_allclose(found.seconds, results["one.mp4"]["seconds"], atol=1e-3)
    (arrays,) = api.explain(captioner, clip[None], methods=["caption_guided"], **options)
    np.testing.assert_allclose(
        arrays["caption_guided"].maps, found["caption_guided"].maps, atol=1e-5
    )
    assert arrays.seconds is None
    assert "<iframe" in found._repr_html_() and "<iframe" in arrays._repr_html_()


def test_maps_are_those_of_the_prepared_frames(captioner, folder, explained):
    """The frames of the clip, given as an array of images, through the encoder alone."""
    out, _, results = explained
    prepared, _ = load_prepared_clip(folder / "two.avi", captioner.preprocessing)
    features = captioner.net.apply(captioner.variables, prepared[None], method="encode")
    tokens = np.array(results["two.avi"]["tokens"], np.int32)[None, None]
    losses = word_losses(captioner.net, captioner.variables, features, tokens)
    words = len(results["two.avi"]["words"])
    with np.load(out / "maps" / "two.avi.npz") as maps:
        ours = maps["caption_guided"].reshape(words, FRAMES, 64)
    np.testing.assert_allclose(ours, -losses.loss[0, 0, :words], atol=2e-5)


def test_arrays_that_are_no_clip_are_refused(captioner):
    with pytest.raises(ValueError, match=r"expected uint8 \[N H W 3\]"):
        api.caption(captioner, [np.zeros((2, 3, 6, 8), np.uint8)])
    with pytest.raises(ValueError, match=r"expected uint8 \[N H W 3\]"):
        api.caption(captioner, [np.full((2, 4, 4, 3), 200.0)])


def test_a_captioner_of_images_takes_images_only(folder, tmp_path, capsys):
    attentive().save(tmp_path / "model")
    for clips in (True, False):  # of images, clips fail by name: they were asked for
        _, files = find_images([str(folder)], exclude=tmp_path, clips=clips)
        assert files == sorted([*CLIPS, "broken.mkv"])
    with pytest.raises(ValueError, match="it is a clip, and images are read here"):
        api.caption(attentive(), folder / "one.mp4")
    below = str(folder / "below")
    with pytest.raises(ValueError, match="no images in .*the 1 clips there need a captioner of"):
        find_images([below], exclude=tmp_path)
    with pytest.raises(ValueError, match="no clips in .*expected files like .mp4"):
        find_images([str(tmp_path / "model")], exclude=tmp_path / "out", clips=True)
    # Named one by one it is tried, and fails by name.
    options = [f"--model={tmp_path / 'model'}", f"--images={folder / 'one.mp4'}"]
    assert main([*options, f"--out={tmp_path / 'out'}", "--no-overlays"]) == 3
    assert "one.mp4: it is a clip" in capsys.readouterr().err
