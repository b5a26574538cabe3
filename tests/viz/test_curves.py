"""Learning curves hold the numbers of the runs they are drawn from."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from capjax.viz import curves


def write_run(folder, *, losses, validation):
    folder.mkdir(parents=True)
    lines = []
    for step, loss in enumerate(losses, start=1):
        record = {"step": step, "epoch": step / 10, "loss": loss}
        if step in validation:
            record["validation"] = validation[step]
        lines.append(json.dumps(record))
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    one = write_run(
        tmp_path / "soft" / "seed0",
        losses=np.linspace(3, 1, 60),
        validation={30: {"BLEU-1": 0.4, "METEOR": 0.1}, 60: {"BLEU-1": 0.6, "METEOR": 0.2}},
    )
    other = write_run(
        tmp_path / "hard" / "seed0", losses=[2.0] * 40, validation={40: {"BLEU-1": 0.5}}
    )
    return [one, other]


def test_lines_are_the_records(runs):
    names = curves.run_labels(runs)
    assert names == ["soft/seed0", "hard/seed0"]
    figure = curves.plot_curves(dict(zip(names, map(curves.read_run, runs), strict=True)))
    loss, meteor, bleu = figure.axes
    assert [axis.get_title() for axis in figure.axes] == [
        "training loss",
        "validation METEOR",
        "validation BLEU-1",
    ]
    np.testing.assert_allclose(loss.lines[0].get_ydata(), np.linspace(3, 1, 60))
    np.testing.assert_allclose(meteor.lines[0].get_xydata(), [(3.0, 0.1), (6.0, 0.2)])
    assert len(meteor.lines) == 1  # the other run has no METEOR
    np.testing.assert_allclose(bleu.lines[1].get_xydata(), [(4.0, 0.5)])
    assert [text.get_text() for text in loss.get_legend().get_texts()] == names


def test_the_running_mean_is_that_of_a_twentieth_around_each_step():
    values = np.random.default_rng(0).normal(size=100)
    expected = [values[step - 2 : step + 3].mean() for step in range(2, 100)]
    first = [values[0], values[:3].mean()]
    np.testing.assert_allclose(curves.running_mean(values), first + expected, atol=1e-12)
    np.testing.assert_array_equal(curves.running_mean(np.array([4.0])), [4.0])


def test_the_command_writes_a_picture(runs, tmp_path, capsys):
    out = tmp_path / "both.png"
    assert curves.main([*map(str, runs), f"--out={out}"]) == 0
    with Image.open(out) as picture:
        assert picture.width > 1000
    assert str(out) in capsys.readouterr().out


def test_a_folder_without_a_run_is_named(tmp_path, capsys):
    assert curves.main([str(tmp_path), f"--out={tmp_path / 'none.png'}"]) == 2
    assert "metrics.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "none.png").exists()


def test_unknown_scores_and_repeated_runs_are_refused(runs, tmp_path, capsys):
    out = f"--out={tmp_path / 'none.png'}"
    assert curves.main([str(runs[0]), "--scores=METEOR,BLUE-1", out]) == 2
    assert "unknown score 'BLUE-1'; choose from BLEU-1" in capsys.readouterr().err
    assert curves.main([str(runs[0]), str(runs[0]), out]) == 2
    assert "a run is named twice" in capsys.readouterr().err
    assert not (tmp_path / "none.png").exists()


def test_without_matplotlib_one_line_says_so(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert curves.main([*map(str, runs), f"--out={tmp_path / 'none.png'}"]) == 2
    assert capsys.readouterr().err == ('error: matplotlib is missing; pip install "capjax[viz]"\n')
