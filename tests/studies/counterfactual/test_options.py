"""Objects named on the command line of explain.py reach the studies that look at objects."""

import types

import pytest

from capjax.folder.options import chosen_studies, figure_files, make_parser
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.fills.mean import Mean
from capjax.inpaint.fills.named import DEFAULT, FILLS
from capjax.studies.counterfactual.named import content_of, with_objects
from capjax.studies.counterfactual.study import Counterfactual

NEEDED = ["--model=m", "--images=i", "--out=o"]


def parsed(*more):
    return make_parser().parse_args([*NEEDED, *more])


def test_a_study_of_objects_is_told_which_and_of_what_content(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text("[]")
    asked = "--studies=counterfactual,instability"
    options = parsed(asked, f"--boxes={path}", "--set=counterfactual.fill=mean")
    studies, rest = chosen_studies(options, ())
    study = studies["counterfactual"]
    assert (study.objects, study.fill, rest) == (str(path), "mean", [])
    before = study.describe()
    assert len(before["content"]) == 12 and before["fills"] == {"mean": Mean().describe()}
    set_too = parsed(
        asked, f"--set=counterfactual.objects={path}", "--set=counterfactual.at_once=2"
    )
    usual = {"fill": DEFAULT, "fills": {DEFAULT: FILLS[DEFAULT].describe()}}
    described = chosen_studies(set_too, ())[0]["counterfactual"].describe()
    assert described == before | usual  # how many pictures share a batch changes nothing
    path.write_text("[ ]")  # another content is another question
    assert study.describe()["content"] != before["content"]
    assert not hasattr(studies["instability"], "objects")
    assert figure_files(options, studies) is None
    folder = chosen_studies(parsed(asked, f"--masks={tmp_path}"), ())[0]["counterfactual"]
    assert folder.objects == str(tmp_path)
    contents = [content_of(str(tmp_path))]
    (tmp_path / "a").mkdir()
    for name, text in (("a/1.png", "1"), ("2.png", "1"), ("2.png", "22")):
        (tmp_path / name).write_text(text)
        contents.append(content_of(str(tmp_path)))
    assert len(set(contents)) == 4 and content_of("proposals:gradcam") == content_of("") == ""


def test_another_checkpoint_of_one_path_is_another_fill(monkeypatch):
    study = Counterfactual(objects="proposals", fill="gated+checkpoint=here", others="mean")
    for digest in ("0a", "1b"):
        monkeypatch.setattr(Gated, "_inpainter", types.SimpleNamespace(hash=digest))
        assert study.describe()["fills"]["gated+checkpoint=here"]["inpainter"] == digest


def test_objects_that_nobody_looks_at_are_refused():
    with pytest.raises(ValueError, match="masks"):
        chosen_studies(parsed("--masks=m", "--studies=instability"), ())
    with pytest.raises(ValueError, match="--boxes and --masks; one of them"):
        chosen_studies(parsed("--boxes=b", "--masks=m", "--studies=counterfactual"), ())
    with pytest.raises(ValueError, match="boxes"):
        figure_files(parsed("--boxes=b"), {})
    assert with_objects(parsed(), {}) == {}
