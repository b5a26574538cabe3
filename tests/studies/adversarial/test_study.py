"""The study in a folder, the command, and what a reader is told."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageColor

from capjax.captioner import Captioner
from capjax.data.scenes.still import write_folder
from capjax.decoding import Greedy
from capjax.explainers.choosing import described
from capjax.explainers.wording import Wording, padded_sizes
from capjax.folder import run as folder
from capjax.folder.options import chosen_studies, make_parser
from capjax.metrics.similarity import Distance
from capjax.runtime import locks
from capjax.studies import __main__ as studies
from capjax.studies.adversarial.agreement import agreement, explained, written
from capjax.studies.adversarial.aims import aim_at
from capjax.studies.adversarial.study import Adversarial
from capjax.studies.adversarial.success import curve, success_table
from capjax.studies.adversarial.telling import change_pictures, changed_words
from capjax.studies.choosing import choose_studies, described_studies
from capjax.types import Caption, Preprocessing
from capjax.viz.charts.line_chart import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    RIGHT,
    SHARPNESS,
    TOP,
    WIDTH,
    line_chart,
)
from tests.explainers.toys import PREPROCESSING, TEXT, attentive_net, randomised


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes")
    write_folder(path, 2, "test")
    return path / "images"


def test_in_a_folder_with_its_report_and_its_resume(scenes, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["--model=scenes-soft", f"--images={scenes}", f"--out={out}", "--no-overlays"]
    options = ["attack=fgsm", "epsilon=8", "epsilons=0,8", "methods=attention", "at_once=2"]
    command += ["--no-visual-information", "--studies=adversarial"]
    command += [f"--set=adversarial.{option}" for option in options]
    assert folder.main(command) == 0
    described = json.loads((out / "run.json").read_text())["studies"]["adversarial"]
    assert described["attack"] == "fgsm" and described["epsilons"] == [0.0, 8.0]
    results = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for result in results:
        finding = result["findings"]["adversarial"]
        numbers, tables = finding["numbers"], finding["tables"]
        before, after = (
            np.asarray(Image.open(out / finding["pictures"][title])).astype(int)
            for title in ("picture", "adversarial picture")
        )
        assert np.abs(after - before).max() == numbers["largest change"] == 8
        assert numbers["fooled at 0/255"] == 0
        (_, own), (_, there) = tables["captions"]["rows"]
        assert (own != there) == bool(numbers["fooled"]) and own == result["caption"]
        words = tables["what each word loses"]["rows"]
        assert [row[0] for row in words] == own.split()
        np.testing.assert_allclose(
            [row[1] for row in words], result["log_probabilities"][:-1], atol=1e-4
        )
        (row,) = tables["maps that lie where the attack wrote"]["rows"]
        assert row[0] == "attention" and row[3] == 0.1
        # FGSM writes as much everywhere, but where a value cannot move or nothing pulls it.
        assert (row[1] is None) == (np.ptp(np.abs(after - before)) == 0)
    page = (out / "index.html").read_text()
    assert "success against epsilon" in page and "data:image/png" in page
    capsys.readouterr()
    assert folder.main(command) == 0  # all is there
    assert folder.main([*command[:-1], "--set=adversarial.at_once=1"]) == 2
    assert "findings of adversarial with at_once=2, not at_once=1" in capsys.readouterr().err


def test_the_command_writes_table_results_and_curve(scenes, tmp_path):
    command = ["adversarial", "--model=scenes-soft", f"--images={scenes}", "--batch-size=2"]
    command += [f"--out={tmp_path}", "--attacks=fgsm", "--epsilons=0,8"]
    assert studies.main(command) == 0
    rows = list(csv.reader((tmp_path / "success.csv").read_text().splitlines()))
    assert rows[0][:3] == ["attack", "epsilon/255", "fooled"]
    assert [(row[0], float(row[1])) for row in rows[1:]] == [
        ("fgsm", epsilon) for epsilon in (0, 8)
    ]
    assert float(rows[1][2]) == 0
    records = json.loads((tmp_path / "success.json").read_text())["pictures"]["fgsm"]
    assert len(records) == 2 and all(one["largest_change"] <= 8 for one in records)
    assert all((one["caption"] != one["adversarial"]) == one["fooled"] for one in records)
    with Image.open(tmp_path / "success.png") as drawn:
        assert drawn.width > 400
    assert studies.main([*command[:-1], "--epsilons=300"]) == 2


@pytest.mark.parametrize("name", ["adversarial", "detection", "pairs", "surrogate"])
def test_a_folder_that_another_process_writes_is_refused(name, tmp_path, capsys):
    command = [name, "--model=scenes-soft", "--images=nowhere", f"--out={tmp_path}"]
    with locks.held(tmp_path / locks.FILE):
        assert studies.main(command + ["--original=scenes-soft"] * (name == "surrogate")) == 2
    assert "is being written by process" in capsys.readouterr().err


def test_maps_of_captions_of_any_length_run_in_one_program(monkeypatch):
    captioner = SimpleNamespace(text=TEXT, preprocessing=Preprocessing((8, 8)))
    padded = []

    def explain(captioner, images, sizes, *, captions, least_tokens=1, **given):
        own = [[Wording.of_caption(captioner, caption)] for caption in captions]
        padded.append(padded_sizes(own, least=least_tokens))
        return []

    monkeypatch.setattr("capjax.studies.adversarial.agreement.explain_batch", explain)
    for count in (1, 20):
        tokens = tuple(TEXT.encode(" ".join(["red"] * count)))
        own = [Caption("", (), tokens, np.zeros(len(tokens)), 0.0, True)]
        explained(captioner, np.zeros((1, 8, 8, 3), np.uint8), own, (), Greedy(), 40)
    assert padded == [(1, 32, 32)] * 2


def test_targets_are_captions_of_other_photographs():
    draw, longest = np.random.default_rng(0), 3
    spoken = [[(1, 0)], [(1, 0), (2, 0)], [(1, 2, 3, 0)], []]
    for _ in range(5):
        assert aim_at(draw, 0, spoken, (1, 0), longest) == (2, 0)  # another one, and it fits
    assert {aim_at(draw, 3, spoken, (9, 0), longest) for _ in range(40)} == {(1, 0), (2, 0)}
    assert aim_at(draw, 1, spoken, (1, 0), longest) is None


def test_where_it_wrote_and_whose_map_lies_there():
    before = np.zeros((4, 6, 3), np.uint8)
    after = before.copy()
    after[:2, 2:4] = 6  # one cell of 2 x 3
    there = written(before, after, (2, 3))
    np.testing.assert_array_equal(there[0], [[0, 6, 0], [0, 0, 0]])
    assert agreement(there, there) == (pytest.approx(1), 1.0)
    assert agreement(there, np.ones_like(there)) == (None, None)
    ranked = np.arange(20.0).reshape(1, 4, 5)
    assert agreement(ranked, -ranked) == (pytest.approx(-1), 0.0)


def test_pictures_and_words_of_a_change():
    before = np.full((2, 2, 3), 250, np.uint8)
    after = before.copy()
    after[0, 0, 0] -= 4
    pictures = change_pictures(before, after)
    assert [own[0, 0, 0] for own in pictures.values()] == [250, 246, 124, 128 - 31 * 4]
    assert list(pictures)[-1] == "change × 31 (largest: 4 of 255)"
    assert len(change_pictures(before, before)) == 3  # nothing to magnify
    table = changed_words("a man on a horse".split(), "a dog on a red horse".split())
    assert table.rows == (("man", "dog"), (None, "red"))
    found = Distance()({"same": ("a man", "a man"), "none": ("a man", "two dogs")})
    assert found == {"same": pytest.approx(0), "none": pytest.approx(1)}


def test_success_as_a_table_and_as_a_picture():
    fooled = {"fgsm": {1.0: [False, True], 2.0: [True, True]}}
    assert [row[:3] for row in success_table(fooled).rows] == [("fgsm", 1, 0.5), ("fgsm", 2, 1.0)]
    drawn = curve({**fooled, "pgd": fooled["fgsm"]})
    assert drawn.lines["pgd"] == ((1.0, 0.5), (2.0, 1.0))
    assert line_chart(drawn).height > line_chart(curve(fooled)).height  # a legend of two


def test_lines_that_lie_upon_one_another_all_show_inside_the_axes():
    attacks = {name: {1.0: [True], 20.0: [True]} for name in ("fgsm", "pgd", "show_and_fool")}
    image = np.asarray(line_chart(curve(attacks)))
    plot = image[: (HEIGHT - BOTTOM) * SHARPNESS]
    for colour in COLOURS[:3]:
        drawn = np.argwhere((plot == ImageColor.getrgb(colour)).all(axis=-1)) / SHARPNESS
        assert len(drawn), f"{colour} is hidden"
        assert drawn[:, 0].min() >= TOP and drawn[:, 1].max() <= WIDTH - RIGHT


def test_options_of_studies_are_told_from_those_of_methods():
    given = ["adversarial.epsilons=1,4", "adversarial.attack=pgd+steps=3", "ig.steps=4"]
    (study,), others = choose_studies(["adversarial"], given)
    assert study == Adversarial(epsilons=(1.0, 4.0), attack="pgd+steps=3")
    assert others == ["ig.steps=4"]
    assert "epsilons=1.0,2.0,4.0,8.0,16.0: for the curve" in described_studies()
    assert "adversarial" not in described()
    for call, text in (
        (lambda: choose_studies([], given), "add --studies=adversarial"),
        (lambda: choose_studies(["lime"], []), "unknown study 'lime'"),
        (lambda: Adversarial(attack="cw"), "unknown attack 'cw'"),
        (lambda: Adversarial(goal="keywords"), "needs words"),
        (lambda: Adversarial(epsilon=300), "levels from 0 to 255"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


def test_one_option_names_the_encoder_of_sentences_of_all_studies():
    def chosen(*arguments):
        given = ["--model=m", "--images=i", "--out=o", *arguments]
        return chosen_studies(make_parser().parse_args(given), ())[0]

    both = chosen("--studies=adversarial,instability", "--similarity=minilm")
    assert [own.similarity for own in both.values()] == ["minilm", "minilm"]
    one = chosen(
        "--studies=adversarial", "--similarity=minilm", "--set=adversarial.similarity=clip"
    )
    assert one["adversarial"].similarity == "clip"
    with pytest.raises(ValueError, match="no study compares captions .*--studies=adversarial"):
        chosen("--similarity=minilm")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--studies=instability"], "has no attention to show"),
        (["--studies=adversarial", "--set=adversarial.methods=attention"], "no attention to show"),
        (
            ["--studies=adversarial", "--set=adversarial.goal=caption"]
            + ["--set=adversarial.words=a zyzzyva", "--set=adversarial.methods="],
            "cannot write 'a zyzzyva'",
        ),
        (
            ["--studies=adversarial", "--set=adversarial.goal=caption"]
            + ["--set=adversarial.words=" + "a " * 40, "--set=adversarial.methods="],
            "choose a shorter one",
        ),
    ],
)
def test_what_does_not_suit_the_captioner_is_said_before_any_work(
    arguments, said, scenes, tmp_path, monkeypatch, capsys
):
    net = attentive_net(attention=False)
    captioner = Captioner(net, randomised(net, PREPROCESSING), TEXT, PREPROCESSING)
    monkeypatch.setattr(folder, "load", lambda model: captioner)
    out = tmp_path / "out"
    command = ["--model=plain", f"--images={scenes}", f"--out={out}", "--methods=gradcam"]
    assert folder.main([*command, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (out / "results.jsonl").exists()
