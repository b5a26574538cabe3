"""The table of runs: seeds together, intervals of their mean, published scores beside them."""

import json

import numpy as np
import pytest

from capjax.config import ExperimentConfig, decoder_section, encoder_section
from capjax.config import experiment as settings
from capjax.experiment import table

HARDER = {"loss.label_smoothing": 0.1}


def write_run(folder, *, seed, scores, name="ucm", published="", **changes):
    """A finished run; `changes` maps dotted settings to values, "without" to settings left out."""
    folder.mkdir(parents=True)
    config = settings.to_json(
        ExperimentConfig(
            encoder=encoder_section("convnet"), decoder=decoder_section("lstm"), seed=seed
        )
    )
    without = changes.pop("without", ())
    changes = {"data.name": name, "evaluation.published": published, **changes}
    for path, value in changes.items():
        part, _, field = path.rpartition(".")
        (config[part] if part else config)[field] = value
    for path in without:
        part, _, field = path.rpartition(".")
        del (config[part] if part else config)[field]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.json").write_text(json.dumps({"card": {"config": config}}))
    (folder / "validation.json").write_text(json.dumps({**scores, "n": 5, "card": {}}))
    return folder


def test_seeds_are_one_row_and_other_settings_another(tmp_path):
    values = (0.6, 0.64, 0.7)
    soft = [
        write_run(tmp_path / f"soft_{seed}", seed=seed, scores={"BLEU-1": v, "METEOR": None})
        for seed, v in enumerate(values)
    ]
    hard = write_run(tmp_path / "hard", seed=0, scores={"BLEU-1": 0.5, "METEOR": 0.2}, **HARDER)
    first, second = table.rows_of([*soft, hard])
    assert (first.name, first.seeds, second.name, second.seeds) == ("soft", 3, "hard", 1)
    assert first.scores == {"BLEU-1": pytest.approx(np.mean(values))}  # METEOR was unavailable
    quantile = 0.95 / np.sqrt(2 * 0.975 * 0.025)  # of two degrees of freedom, in closed form
    error = np.std(values, ddof=1) / np.sqrt(3)
    assert first.widths["BLEU-1"] == pytest.approx(quantile * error, rel=1e-9)
    assert second.widths == {}
    text = table.format_rows([first, second])
    assert "0.647 ±0.125" in text and "0.200" in text
    assert text.splitlines()[0].split() == ["seeds", "BLEU-1", "METEOR"]


def test_seeds_of_a_stage_are_one_row_though_each_starts_from_its_own(tmp_path):
    starts = [
        write_run(tmp_path / f"soft_{seed}", seed=seed, scores={"CIDEr": 3.0}) for seed in (0, 1)
    ]
    other = write_run(tmp_path / "smooth", seed=0, scores={"CIDEr": 3.0}, **HARDER)
    stages = [
        write_run(
            tmp_path / f"scst_{seed}", seed=0, scores={"CIDEr": 3 + seed}, init_from=str(start)
        )
        for seed, start in enumerate([*starts, other, "gone"])
    ]
    assert [row.seeds for row in table.rows_of(stages)] == [2, 1, 1]


def test_what_a_run_started_from_is_known_from_its_card_alone(tmp_path):
    """However long the chain: the folders of before may be gone, or elsewhere."""
    stages = []
    for seed in (0, 1):
        first = write_run(tmp_path / f"first_{seed}", seed=seed, scores={"CIDEr": 3.0})
        run = write_run(
            tmp_path / f"third_{seed}", seed=seed, scores={"CIDEr": 4.0}, init_from=f"second_{seed}"
        )
        config = json.loads((first / "config.json").read_text())
        start = {"name": f"second_{seed}", "config": {**config, "init_from": f"first_{seed}"}}
        start["init_from"] = {"name": f"first_{seed}", "config": config}
        card = json.loads((run / "model.json").read_text())["card"]
        (run / "model.json").write_text(json.dumps({"card": {**card, "init_from": start}}))
        stages.append(run)
    assert [row.seeds for row in table.rows_of(stages)] == [2]
    (stages[1] / "model.json").unlink()
    assert [row.seeds for row in table.rows_of(stages)] == [1, 1]


def test_what_no_score_depends_on_and_settings_of_later_make_no_row(tmp_path):
    changed = [
        {"train.progress": False, "train.log_every": 3, "profile": "3:1", "train.remat": True},
        {"data.root": "elsewhere", "data.workers": 2, "evaluation.batch_size": 7},
        {"without": ["loss.lambda_e", "self_critical", "init_from", "encoder.weights"]},
        {"train.epochs": 3},
        {"evaluation.patience": 3},
    ]
    runs = [
        write_run(tmp_path / f"run_{seed}", seed=seed, scores={"CIDEr": 3.0}, **change)
        for seed, change in enumerate([*changed, {}])
    ]
    assert [row.seeds for row in table.rows_of(runs)] == [4, 1, 1]
    again = write_run(tmp_path / "again", seed=0, scores={"CIDEr": 3.0})
    with pytest.raises(ValueError, match="same settings, same seed"):
        table.rows_of([runs[0], again])


def test_what_the_paper_reports_stands_beside_it(tmp_path, capsys):
    run = write_run(
        tmp_path / "hard",
        seed=1,
        scores={"BLEU-1": 0.6, "CIDEr": 0.4},
        name="flickr8k",
        published="xu2015_hard,brenner_hard",
    )
    assert table.main([str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Xu et al. 2015, Table 1, hard attention, test split" in lines[2]
    assert "published" in lines[2]
    assert "0.203" in lines[2] and "0.670" in lines[2]  # its METEOR; the run has none
    assert "Brenner et al." in lines[3] and "0.432" in lines[3]


def test_unfinished_and_repeated_runs_are_named(tmp_path, capsys):
    run = write_run(tmp_path / "one", seed=0, scores={"BLEU-1": 0.5})
    assert table.main([str(run), str(run)]) == 2
    assert "same settings, same seed" in capsys.readouterr().err
    (run / "validation.json").unlink()
    assert table.main([str(run)]) == 2
    assert "lacks validation.json" in capsys.readouterr().err
