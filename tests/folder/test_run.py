"""explain.py from the outside: files, exit codes, re-runs, and a run that is killed."""

import dataclasses
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from capjax.api import load
from capjax.captioner import token_log_probs
from capjax.data.pictures.finding import find_images
from capjax.folder.queries import Queries
from capjax.folder.records import Result
from capjax.folder.results import ResultFolder
from capjax.folder.run import main
from capjax.runtime.locks import Holder, held
from capjax.viz.strips import IMAGE_HEIGHT
from tests import compiled
from tests.api.conftest import write_photographs

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "alpha.png",
    "cmyk.jpg",
    "grey16.png",
    "in a folder/wörd & <b>.png",
    "plain.jpg",
    "rotated.jpg",
}
BAD = {"empty.jpg", "text.jpg", "truncated.jpg"}


def run(model, images, out, *options):
    fixed = [f"--model={model}", f"--images={images}", f"--out={out}"]
    # What words say beside their maps is asked in test_language: a program less here.
    fixed += ["--max-length=7", "--batch-size=2", "--no-visual-information"]
    given = {option.partition("=")[0] for option in options}
    return main([one for one in fixed if one.partition("=")[0] not in given] + [*options])


def lines(out):
    raw = (out / "results.jsonl").read_text()
    assert raw.endswith("\n")
    found = [json.loads(line) for line in raw.splitlines()]
    assert len({result["file"] for result in found}) == len(found)
    return {result["file"]: result for result in found}


def check_whole(out, files, methods=("attention",)):
    """Every file that the results name can be read and agrees with them."""
    results = lines(out)
    for file in files:
        result = results[file]
        count = len(result["words"])
        assert len(result["log_probabilities"]) == len(result["tokens"]) >= count
        assert set(result["methods"]) == set(methods)
        for method in methods:
            entry = result["methods"][method]
            assert entry["maps"] == f"maps/{file}.npz"
            with np.load(out / entry["maps"], allow_pickle=False) as maps:
                assert maps[method].shape == (count, 1, 8, 8)
                assert maps[method].dtype == np.float32
                assert maps["words"].tolist() == result["words"]
                assert json.loads(str(maps["geometry"]))["grid"] == [8, 8]
            Image.open(out / entry["overlay"]).load()
    assert not [path for path in out.rglob("*.tmp")]


@pytest.fixture(scope="module")
def explained(model, zoo, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "zoo"
    return out, run(model, zoo, out)


def test_good_images_are_explained_and_bad_ones_listed(explained, zoo):
    out, code = explained
    assert code == 3
    results = lines(out)
    assert set(results) == GOOD | BAD
    check_whole(out, GOOD)
    for file in BAD:
        assert set(results[file]) == {"file", "bytes", "error"}
        assert file in results[file]["error"]
    run_file = json.loads((out / "run.json").read_text())
    assert {"model_hash", "query", "decoding", "code_version"} <= set(run_file)


def test_photographs_are_read_upright(explained, zoo):
    out, _ = explained
    for file in ("plain.jpg", "rotated.jpg", "cmyk.jpg", "grey16.png"):
        with np.load(out / "maps" / f"{file}.npz") as maps:
            assert json.loads(str(maps["geometry"]))["original"] == [60, 100]
    with Image.open(out / "thumbnails" / "rotated.jpg.jpg") as turned:
        with Image.open(zoo / "plain.jpg") as plain:
            difference = np.abs(np.asarray(turned, int) - np.asarray(plain.convert("RGB"), int))
    assert difference.mean() < 4


def test_maps_and_probabilities_are_those_of_the_tokens(explained, model, zoo):
    out, _ = explained
    captioner = load(model)
    from capjax.data.pictures.images import load_prepared

    prepared, _ = load_prepared(zoo / "alpha.png", captioner.preprocessing)
    own = (captioner.net, captioner.variables)
    features = compiled.apply(*own, prepared[None], method="encode")
    result = lines(out)["alpha.png"]
    tokens = np.array([result["tokens"]], np.int32)
    expected = jax.jit(token_log_probs, static_argnums=0)(*own, features, tokens)
    np.testing.assert_allclose(result["log_probabilities"], expected[0], atol=1e-4)
    _, attention = compiled.apply(*own, features, tokens, method="teacher_force")
    with np.load(out / "maps" / "alpha.png.npz") as maps:
        ours = maps["attention"].reshape(-1, 64)
    np.testing.assert_allclose(ours, attention[0, : len(ours), 0], atol=1e-5)


def test_report_is_one_offline_page(explained):
    page = (explained[0] / "index.html").read_text("utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["']?(?!data:)[a-z]*:?//""", page)
    assert "http" not in page.replace("charset", "")
    assert page.count('<article class="item"') == len(GOOD)
    assert "w\u00f6rd &amp; &lt;b&gt;.png" in page
    assert "3 images could not be explained" in page


def test_rerun_skips_adds_a_method_and_refuses_another_run(model, zoo, tmp_path, capsys):
    images = tmp_path / "images"
    write_photographs(images, 3)
    out = tmp_path / "out"
    assert run(model, images, out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    captions = {file: result["caption"] for file, result in lines(out).items()}
    assert run(model, images, out) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}

    # One method more, alone: what was there stays, bit by bit, and the words are the same.
    with np.load(out / "maps" / "1.jpg.npz") as maps:
        attention = maps["attention"]
    assert run(model, images, out, "--methods=gradcam") == 0
    check_whole(out, captions, ("attention", "gradcam"))
    with np.load(out / "maps" / "1.jpg.npz") as maps:
        np.testing.assert_array_equal(maps["attention"], attention)
    assert captions == {file: result["caption"] for file, result in lines(out).items()}

    for other in ("--query=a red wave", "--beam=1"):
        assert run(model, images, out, other) == 2
        assert "another run" in capsys.readouterr().err

    # A changed file and a new one are done, the others are not touched.
    shutil.copy(images / "2.jpg", images / "1.jpg")
    shutil.copy(images / "2.jpg", images / "new.jpg")
    assert run(model, images, out) == 0
    check_whole(out, ["1.jpg", "new.jpg"])
    assert (out / "maps" / "0.jpg.npz").stat().st_mtime_ns != 0
    assert lines(out)["1.jpg"]["tokens"] == lines(out)["2.jpg"]["tokens"]


def test_query_keeps_and_flags_unknown_words(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    query = "--query=A red zebra, [a red okapi] and a zebra!"
    assert run(model, images, out, query, "--no-overlays") == 0
    said = capsys.readouterr().err.splitlines()[0]
    assert said.startswith("explain.py: the captioner does not know these words of --query: zebra")
    assert "okapi" in said and "reads its unknown token" in said and said.count("zebra") == 1
    skip = "--unknown-words=skip"
    assert run(model, images, tmp_path / "skipped", query, skip, "--no-overlays") == 0
    assert "it does not read them" in capsys.readouterr().err
    out = tmp_path / "known"
    assert run(model, images, out, "--query=a red", "--no-overlays") == 0
    assert "explain.py" not in capsys.readouterr().err
    out = tmp_path / "one"
    assert run(model, images, out, "--query=A red zebra!", "--no-overlays") == 0
    for result in lines(out).values():
        assert result["query"] == "A red zebra!"
        assert result["words"] == ["a", "red", "zebra"]
        assert result["methods"]["attention"]["flags"]["unknown_words"] == [2]
        assert "overlay" not in result["methods"]["attention"]
    assert "explained as an unknown word: zebra" in (out / "index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "suffix", "kind"),
    [
        ([], "jpg", "JPEG"),
        (["--overlays"], "jpg", "JPEG"),
        (["--overlays=webp"], "webp", "WEBP"),
        (["--overlays=png", "--overlay-height=64"], "png", "PNG"),
    ],
)
def test_overlays_have_the_format_and_size_asked_for(model, tmp_path, options, suffix, kind):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 1)
    assert run(model, images, out, *options) == 0
    overlay = lines(out)["0.jpg"]["methods"]["attention"]["overlay"]
    assert overlay == f"overlays/0.jpg.attention.{suffix}"
    with Image.open(out / overlay) as strip:
        assert strip.format == kind
        assert (strip.height < IMAGE_HEIGHT) == ("--overlay-height=64" in options)
    # The format is no reason to draw again.
    before = (out / overlay).stat().st_mtime_ns
    assert run(model, images, out) == 0
    assert (out / overlay).stat().st_mtime_ns == before
    assert [path.name for path in (out / "overlays").iterdir()] == [f"0.jpg.attention.{suffix}"]
    # A picture that changed is drawn again, and leaves nothing of the old one.
    Image.new("RGB", (90, 40)).save(images / "0.jpg")
    assert run(model, images, out) == 0
    assert [path.name for path in (out / "overlays").iterdir()] == ["0.jpg.attention.jpg"]


def test_overlays_that_are_there_are_drawn_again_as_asked_for(model, tmp_path):
    from tests.viz.test_lettering import make_font  # skips without fontTools

    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    assert run(model, images, out) == 0
    captions = {file: result["caption"] for file, result in lines(out).items()}

    def drawn_anew(*options):
        files = out / "overlays", out / "maps"
        before = {path: path.stat().st_mtime_ns for folder in files for path in folder.iterdir()}
        assert run(model, images, out, *options) == 0
        after = {path: path.stat().st_mtime_ns for folder in files for path in folder.iterdir()}
        check_whole(out, captions)
        assert captions == {file: result["caption"] for file, result in lines(out).items()}
        assert len(after) == 4
        return before != after

    def height():
        with Image.open(out / lines(out)["0.jpg"]["methods"]["attention"]["overlay"]) as strip:
            return strip.height

    first = height()
    assert not drawn_anew("--overlays=jpeg")
    assert drawn_anew("--overlay-height=64") and height() < first
    assert not drawn_anew("--overlay-height=64") and not drawn_anew()
    assert drawn_anew("--overlays=png", "--overlay-height=80")
    assert {path.suffix for path in (out / "overlays").iterdir()} == {".png"}
    assert not drawn_anew("--overlays=png") and not drawn_anew("--no-overlays")
    font = "--font=" + make_font(tmp_path / "own.ttf", "abcdefghijklmnopqrstuvwxyz")
    assert drawn_anew(font, "--overlays=png") and not drawn_anew(font, "--overlays=png")

    # Older versions did not say how they drew; a strip of one image alone is drawn again.
    older = list(lines(out).values())
    del older[0]["methods"]["attention"]["drawn"]
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in older))
    assert not drawn_anew()
    before = (out / "overlays" / "1.jpg.attention.png").stat().st_mtime_ns
    assert drawn_anew(font, "--overlays=png")
    assert (out / "overlays" / "1.jpg.attention.png").stat().st_mtime_ns == before


def test_a_size_of_overlays_that_are_not_written_is_refused(model, tmp_path, capsys):
    write_photographs(tmp_path / "images", 1)
    options = ["--no-overlays", "--overlay-height=64"]
    assert run(model, tmp_path / "images", tmp_path / "out", *options) == 2
    assert "--overlay-height" in capsys.readouterr().err


def test_captions_by_people_are_scored_and_the_worst_come_first(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 3)
    assert run(model, images, out, "--no-overlays") == 0
    written = lines(out)["1.jpg"]["caption"]
    entries = [("0.jpg", "two dogs"), ("1.jpg", written), ("2.jpg", "a ball </script>")]
    captions = {
        "images": [{"id": i, "file_name": name} for i, (name, _) in enumerate(entries)],
        "annotations": [
            {"id": i, "image_id": i, "caption": text} for i, (_, text) in enumerate(entries)
        ],
    }
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(captions))
    assert run(model, images, out, "--no-overlays", f"--captions={path}") == 0
    page = (out / "index.html").read_text("utf-8")
    order = re.findall(r'data-file="([^"]*)"', page)
    assert order[-1] == "1.jpg" and set(order) == {"0.jpg", "1.jpg", "2.jpg"}
    assert "a ball &lt;/script&gt;" in page and "1 caption by people" in page
    path.write_text(json.dumps({"images": [], "annotations": []}))
    assert run(model, images, out, "--no-overlays", f"--captions={path}") == 2


@pytest.mark.parametrize(
    "options",
    [
        ["--methods=attention,nonsense"],
        ["--methods="],
        ["--query=..."],
        ["--images=nowhere"],
        ["--model=nowhere"],
        ["--captions=nowhere.json"],
    ],
)
def test_wrong_usage_writes_nothing(model, zoo, tmp_path, capsys, options):
    out = tmp_path / "out"
    assert run(model, zoo, out, *options) == 2
    assert capsys.readouterr().err.startswith("explain.py: ")
    assert not out.exists()
    with pytest.raises(SystemExit) as stop:
        run(model, zoo, out, "--beam=none")
    assert stop.value.code == 2


def test_the_output_inside_the_images_is_not_explained(zoo, tmp_path):
    write_photographs(tmp_path / "out" / "thumbnails", 2)
    write_photographs(tmp_path / "b", 1)
    _, files = find_images([str(tmp_path)], exclude=tmp_path / "out")
    assert files == ["b/0.jpg"]
    root, files = find_images([f"{tmp_path}/b/0.jpg,{zoo}/plain.jpg"], exclude=tmp_path)
    assert [(root / file).name for file in files] == ["0.jpg", "plain.jpg"]
    _, files = find_images([f"{zoo}/*.png"], exclude=tmp_path)
    assert files == ["alpha.png", "grey16.png"]


def test_killed_and_run_again_finishes_with_every_file_whole(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 40)
    command = [sys.executable, "explain.py", f"--model={model}", f"--images={images}"]
    command += [f"--out={out}", "--max-length=7", "--batch-size=2"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    results = out / "results.jsonl"
    deadline = time.monotonic() + 120
    while not (results.exists() and results.read_bytes().count(b"\n") >= 6):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = lines(out) if results.read_bytes().endswith(b"\n") else {}
    assert len(done) < 40
    with open(results, "ab") as stream:  # a line torn in the middle
        stream.write(b'{"file": "39.jpg", "capt')
    (out / "maps" / "39.jpg.npz").write_bytes(b"torn")  # as a writer without renames leaves it
    assert run(model, images, out) == 0
    assert set(lines(out)) == {f"{number}.jpg" for number in range(40)}
    check_whole(out, lines(out))
    for file, result in done.items():  # their files are no longer too new for their times
        assert {**lines(out)[file], "times": None} == {**result, "times": None}


def test_a_replaced_picture_of_equal_size_is_done_again_and_counted(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 30), (80 * number, 99, 0)).save(images / f"{number}.bmp")
    assert run(model, images, out) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (out / "maps").iterdir()}
    Image.new("RGB", (40, 30), (0, 0, 200)).save(images / "1.bmp")
    os.utime(images / "2.bmp", ns=(1, 1))  # the same content, copied anew
    capsys.readouterr()
    assert run(model, images, out) == 0
    said = capsys.readouterr().out
    assert "3 images explained (1 done again: files had changed); report" in said
    after = {path.name: path.stat().st_mtime_ns for path in (out / "maps").iterdir()}
    assert [name for name in sorted(before) if before[name] != after[name]] == ["1.bmp.npz"]
    content = hashlib.sha256((images / "1.bmp").read_bytes()).hexdigest()
    assert lines(out)["1.bmp"]["sha256"] == content
    assert lines(out)["2.bmp"]["bytes"] == (images / "2.bmp").stat().st_size

    # Lines of older versions have the size alone.
    older = [
        {name: value for name, value in line.items() if name not in ("sha256", "times")}
        for line in lines(out).values()
    ]
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in older))
    assert run(model, images, out) == 0
    assert "explained; report" in capsys.readouterr().out
    Image.new("RGB", (41, 30)).save(images / "0.bmp")
    assert run(model, images, out) == 0
    assert "(1 done again: files had changed)" in capsys.readouterr().out

    # Maps that are gone are no change of a file; one that broke is not explained again.
    (out / "maps" / "2.bmp.npz").unlink()
    assert run(model, images, out) == 0
    assert "3 images explained (1 done again: results were missing)" in capsys.readouterr().out
    for number in range(3):
        (out / "maps" / f"{number}.bmp.npz").unlink()
    Image.new("RGB", (42, 30)).save(images / "0.bmp")
    (images / "1.bmp").write_bytes(b"no picture")
    assert run(model, images, out) == 3
    both = "(1 done again: files had changed; 1 done again: results were missing)"
    assert f"2 images explained {both}" in capsys.readouterr().out


def test_what_differs_of_the_model_is_called_by_its_name(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 1)
    assert run(model, images, out, "--no-overlays") == 0
    capsys.readouterr()
    for option, text in (
        ("--reading=argmax", "reading is 'argmax', there it is 'expected'. Choose"),
        ("--precision=bfloat16", "precision is 'bfloat16', there it is 'float32'. Choose"),
    ):
        assert run(model, images, out, option) == 2
        said = capsys.readouterr().err
        assert text in said and "model_hash" not in said
    path = out / "run.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "model_hash": "x", "saved_model": "y"}))
    assert run(model, images, out) == 2
    assert "saved_model is " in capsys.readouterr().err
    older = {
        name: described[name] for name in described if name not in ("saved_model", "precision")
    }
    path.write_text(json.dumps(older))
    assert run(model, images, out) == 0
    assert run(model, images, out, "--precision=bfloat16") == 2
    assert "model_hash is " in capsys.readouterr().err


def test_a_second_run_is_refused_until_the_first_has_ended(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    with held(out / ".lock"):
        assert run(model, images, out) == 2
        assert f"{out} is being written by process {os.getpid()} on" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".lock"]
    holder = {**dataclasses.asdict(Holder.this()), "host": "node7", "boot": "another"}
    out.mkdir()
    (out / ".lock").write_text(json.dumps(holder))
    assert run(model, images, out) == 2
    assert "on node7" in capsys.readouterr().err
    assert run(model, images, out, "--break-lock") == 0
    assert not (out / ".lock").exists()


@pytest.mark.parametrize("place", ["images/0.jpg", "images/0.jpg/out", ""])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, place, capsys):
    write_photographs(tmp_path / "images", 1)
    out = tmp_path / place if place else ""
    assert run("nowhere", tmp_path / "images", out) == 2  # nothing was loaded either
    assert f"--out{'=' if place else ' is empty'}" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_told_in_one_sentence_and_the_next_run_goes_on(
    model, tmp_path, capsys
):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        assert run(model, images, out, "--no-overlays") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert "explain.py: a file grew over the limit on the size of files" in said
    assert "run the same command to go on" in said and not (out / ".lock").exists()
    assert run(model, images, out) == 0
    check_whole(out, lines(out))
    assert len(lines(out)) == 3


def test_a_line_that_does_not_fit_leaves_the_others_whole(tmp_path):
    described = {"model_hash": "m", **Queries().to_json(), "decoding": {}}
    with ResultFolder(tmp_path / "out", described) as folder:
        folder.append(Result("0.jpg", 1, error="e"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                folder.append(Result("1.jpg", 1, error="word" * 20))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        folder.append(Result("2.jpg", 1, error="e"))
        folder.finish()
    assert set(lines(tmp_path / "out")) == {"0.jpg", "2.jpg"}


QUERY = "--query=a red wave"


def test_options_of_methods_are_kept_and_never_taken_for_others(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 1)
    assert run(model, images, out, QUERY, "--methods=ig", "--set=ig.steps=2") == 0
    kept = json.loads((out / "run.json").read_text())["methods"]
    assert kept == {"ig": {"steps": 2, "measure": "log_prob"}}
    assert run(model, images, out, QUERY, "--methods=ig") == 2
    said = capsys.readouterr().err
    assert "maps of ig with steps=2, not steps=8" in said and "--methods=ig@steps=8" in said
    assert (
        run(model, images, out, QUERY, "--methods=ig@steps=3,ig@steps=1", "--set=ig.steps=2") == 2
    )
    assert "option is set for 'ig', which is not among" in capsys.readouterr().err
    assert run(model, images, out, QUERY, "--methods=ig@steps=3,ig@steps=1") == 0
    (line,) = lines(out).values()
    kept = {label: stored["settings"]["steps"] for label, stored in line["methods"].items()}
    assert kept == {"ig": 2, "ig@steps=3": 3, "ig@steps=1": 1}
    with np.load(out / line["methods"]["ig"]["maps"]) as arrays:
        assert not np.array_equal(arrays["ig"], arrays["ig@steps=1"])
    gaps = [stored["flags"]["completeness_gap"] for stored in line["methods"].values()]
    assert all(len(gap) == len(line["words"]) for gap in gaps)


def test_the_list_of_methods_needs_nothing_else(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--list-methods"])
    said = capsys.readouterr().out
    assert (
        ended.value.code == 0
        and re.search(r"options +steps=8: points of the path", said)
        and "Sundararajan" in said
    )
