"""Commands of docs/reproduce.md run on scenes, every figure has one, numbers are as measured."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
from PIL import Image

from tests.docs.pages import DOCS, FENCE, ROOT, section

PAGE = (DOCS / "reproduce.md").read_text(encoding="utf-8")
SHORT = "--config.train.steps=4 --config.evaluation.every=2 --config.data.train_images=64"
WRITTEN = {
    "Fosado et al.": (
        "attention/figures/scene_00000.png.attention.png",
        "holes/examples.png",
        "removed/counterfactual.json",
        "scores.json",
    ),
    "Davuluri et al.": ("../words.png", "compared.against.png", "compared.against.gallery.png"),
    "Agrawal et al.": ("views/index.html", "concepts/star.png"),
    "Ramanishka et al.": (
        "queries/figures/scene_00000.png.caption_guided.png",
        "caption/figures/scene_00000.png.caption_guided.png",
        "clips/index.html",
        "pointing.json",
        "correctness.json",
    ),
    "Brenner et al.": ("curves.png",),
}
"""Below reproduced/: what the commands of a section leave."""


def test_every_figure_and_table_is_on_the_page():
    """The works' own, by their numbers; ranges such as "1 to 4" count."""
    told = {}
    for below in PAGE.split("\n## ")[1:]:
        name, _, text = below.partition("\n")
        for kind, found in re.findall(
            r"\b(Figures?|Tables?) ([\da-z]+(?:(?:,| to| and) [\da-z]+)*)", text
        ):
            numbers = told.setdefault((name.split()[0], kind[0]), set())
            for part in re.split(r", | and ", found):
                ends = [int(number) for number in re.findall(r"\d+", part)]
                numbers.update(range(ends[0], ends[-1] + 1) if ends else ())
    assert told["Fosado", "F"] >= set(range(1, 15)) and told["Fosado", "T"] >= {1, 2}
    assert told["Ramanishka", "F"] >= set(range(1, 6)) and told["Ramanishka", "T"] >= {1, 2, 3}


def row(name, text=PAGE):
    """The cells behind a row's name, of the first such row."""
    (line, *_) = re.findall(rf"^\| {re.escape(name)} \|(.*)\|$", text, re.MULTILINE)
    return [cell.strip().strip("*") for cell in line.split("|")]


def numbers(cells):
    return [float(re.match(r"[\d.]+", cell)[0]) for cell in cells if re.match(r"\.?\d", cell)]


def test_published_numbers_are_those_that_evaluate_prints():
    published = tomllib.loads((ROOT / "capjax/metrics/published.toml").read_text())
    clips = ("msvd", "msrvtt", "flickr30k")
    assert numbers(row("Fosado et al.")) == list(numbers_of(published["fosado"]["coco"]))
    for name, key in (
        ("soft attention", "ramanishka2017_soft"),
        ("S2VT, theirs", "ramanishka2017"),
    ):
        (_, told) = PAGE.split("| Table 3, METEOR, published |")
        assert numbers(row(name, told)) == [published[key][data]["METEOR"] for data in clips]
    for kind in ("soft", "hard"):
        for who, key in (("Xu et al.", f"xu2015_{kind}"), ("Brenner et al.", f"brenner_{kind}")):
            source = published[key]["flickr8k"]
            (bleu, meteor, *_) = row(f"{kind} attention, {who}")
            assert [float(bleu), float(meteor)] == [source["BLEU-1"], source["METEOR"]]


def numbers_of(source):
    return (value for name, value in source.items() if name.startswith("BLEU"))


def test_our_numbers_are_those_that_were_measured():
    """The shipped captioner's card and the pages that say how a number was measured."""
    card = json.loads((ROOT / "capjax/checkpoints/photographs/model.json").read_text())
    scores = card.get("card", card)["scores"]
    measured = [scores[f"BLEU-{n}"] for n in (1, 2, 3, 4)]
    assert numbers(row("ours, `photographs`")[:4]) == pytest.approx(measured, abs=5e-4)
    training = (DOCS / "training.md").read_text()
    for kind in ("soft", "hard"):
        theirs = row(f"`ucm_{kind}`", training)
        ours = row(f"{kind} attention, ours, `ucm_{kind}`, three seeds")
        assert numbers(ours[:2]) == numbers([theirs[0], theirs[4]])
    evaluation = (DOCS / "evaluation.md").read_text()
    scenes = row("`scenes_s2vt`, the same words", evaluation)
    assert row("`scenes_s2vt`, 1,160 object words of 500 scenes")[2] == scenes[4].replace("**", "")
    both = row("`coco_s2vt`, other things; persons", evaluation)[4].split("; ")
    told = "`coco_s2vt`, 351 photographs, words for other things than persons"
    assert [row(told)[2], row("`coco_s2vt`, words for persons")[2]] == both
    for words, seed in (("other things", 1431), ("persons", 1469)):
        (cells,) = re.findall(rf"^\| `coco_soft`, seed 0, {seed:,} words.*$", evaluation, re.M)
        assert row(f"`coco_soft`, seed 0, {words}")[2] == cells.split("|")[6].strip(), words
    for name in ("scenes_video_soft", "scenes_video", "scenes_video_mean"):
        (line,) = re.findall(rf"^\| [^|]*`configs/{name}\.py` \|(.*)\|$", PAGE, re.M)
        (theirs,) = re.findall(rf"^\| `{name}`[^|]*\|(.*)\|$", evaluation, re.M)
        assert numbers(c.strip() for c in line.split("|")[:2]) == numbers(
            c.strip() for c in theirs.split("|")
        )


@pytest.mark.slow
@pytest.mark.parametrize("work", WRITTEN)
def test_every_command_runs_on_scenes(work, tmp_path):
    for name in ("train.py", "explain.py", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"  # no link, which would leave the environment's packages behind
    python.write_text(f'#!{shutil.which("sh")}\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "PATH": str(folder),  # no Java, which takes longer than all the rest
    }
    parts = {"bash": "{}", "python": "python - << 'END'\n{}END\n"}
    found = FENCE.findall(section(PAGE, "Set once") + section(PAGE, work))
    script = "\n".join(["set -e", *(parts[name].format(body) for name, body in found)])
    script = re.sub(r"(configs/\w+\.py)", rf"\1 {SHORT}", script)
    done = subprocess.run(
        [shutil.which("bash"), "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    for name in WRITTEN[work]:
        path = tmp_path / "reproduced" / name
        assert path.is_file(), path
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 100, path
