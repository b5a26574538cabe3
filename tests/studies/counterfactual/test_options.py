"""Objects named on the command line of explain.py reach the studies that look at objects."""

import pytest

from capjax.folder.options import chosen_studies, figure_files, make_parser
from capjax.studies.counterfactual.named import content_of, with_objects

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
    before = study.content
    assert before == content_of(str(path)) and len(before) == 12
    path.write_text("[ ]")  # another content is another question
    assert chosen_studies(options, ())[0]["counterfactual"].content != before
    assert not hasattr(studies["instability"], "objects")
    assert figure_files(options, studies) is None
    folder = chosen_studies(parsed(asked, f"--masks={tmp_path}"), ())[0]["counterfactual"]
    assert (folder.objects, folder.content) == (str(tmp_path), "")


def test_objects_that_nobody_looks_at_are_refused():
    with pytest.raises(ValueError, match="masks"):
        chosen_studies(parsed("--masks=m", "--studies=instability"), ())
    with pytest.raises(ValueError, match="--boxes and --masks; one of them"):
        chosen_studies(parsed("--boxes=b", "--masks=m", "--studies=counterfactual"), ())
    with pytest.raises(ValueError, match="boxes"):
        figure_files(parsed("--boxes=b"), {})
    assert with_objects(parsed(), {}) == {}
