"""The table of runs: seeds together, intervals of their mean, published scores beside them."""

import json

import numpy as np
import pytest
from scipy import stats

from capjax.experiment import table


def write_run(folder, *, seed, scores, name="ucm", published="", **changes):
    folder.mkdir(parents=True)
    config = {
        "seed": seed,
        "data": {"name": name, "root": str(folder)},
        "evaluation": {"published": published},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "validation.json").write_text(json.dumps({**scores, "n": 5, "card": {}}))
    return folder


def test_seeds_are_one_row_and_other_settings_another(tmp_path):
    values = (0.6, 0.64, 0.7)
    soft = [
        write_run(tmp_path / f"soft_{seed}", seed=seed, scores={"BLEU-1": v, "METEOR": None})
        for seed, v in enumerate(values)
    ]
    hard = write_run(tmp_path / "hard", seed=0, scores={"BLEU-1": 0.5, "METEOR": 0.2}, hard=True)
    first, second = table.rows_of([*soft, hard])
    assert (first.name, first.seeds, second.name, second.seeds) == ("soft", 3, "hard", 1)
    assert first.scores == {"BLEU-1": pytest.approx(np.mean(values))}  # METEOR was unavailable
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert first.widths["BLEU-1"] == pytest.approx((high - low) / 2, rel=1e-3)
    assert second.widths == {}
    text = table.format_rows([first, second])
    assert "0.647 ±0.125" in text and "0.200" in text
    assert text.splitlines()[0].split() == ["seeds", "BLEU-1", "METEOR"]


def test_students_quantiles():
    for degrees, value in table.STUDENT.items():
        assert value == pytest.approx(stats.t.ppf(0.975, degrees), abs=6e-4)
    assert table.STUDENT_9 == pytest.approx(stats.t.ppf(0.975, 9), abs=6e-4)


def test_what_the_paper_reports_stands_beside_it(tmp_path, capsys):
    run = write_run(
        tmp_path / "hard",
        seed=1,
        scores={"BLEU-1": 0.6, "CIDEr": 0.4},
        name="flickr8k",
        published="xu2015_hard",
    )
    assert table.main([str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Xu et al. 2015" in lines[2] and "published" in lines[2]
    assert "0.203" in lines[2] and "0.670" in lines[2]  # its METEOR; the run has none


def test_unfinished_and_repeated_runs_are_named(tmp_path, capsys):
    run = write_run(tmp_path / "one", seed=0, scores={"BLEU-1": 0.5})
    assert table.main([str(run), str(run)]) == 2
    assert "same settings, same seed" in capsys.readouterr().err
    (run / "validation.json").unlink()
    assert table.main([str(run)]) == 2
    assert "lacks validation.json" in capsys.readouterr().err
