"""explain.py on words: their bits in every line and on the page, and what they owe to others."""

import json

import numpy as np

from capjax.folder.records import Result
from capjax.folder.run import main
from tests.api.conftest import write_photographs
from tests.folder.test_run import lines


def run(model, images, out, *options):
    where = [f"--model={model}", f"--images={images}", f"--out={out}"]
    query = "--query=[a man] on a horse"
    return main([*where, query, "--max-length=7", "--batch-size=2", *options])


def test_lines_and_page_say_bits_and_a_second_run_adds_what_words_owe(model, tmp_path, capsys):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    assert run(model, images, out) == 0
    first = lines(out)
    for line in first.values():
        visual = line["visual_information"]
        spans = [*line["word_spans"], (0, 2)]  # the words, and the phrase
        said = [sum(line["log_probabilities"][start:end]) for start, end in spans]
        np.testing.assert_allclose(visual["image"], said, atol=1e-4)
        assert len(visual["without_layout"]) == len(said) and "others" not in visual
        assert "linguistic" not in line
    page = (out / "index.html").read_text("utf-8")
    assert "no other pictures" in page
    assert page.count('<small class="layout"') == 2 * (5 + 1)

    assert run(model, images, out, "--linguistic=leave_one_out") == 0
    second = lines(out)
    for file, line in second.items():
        effects = line["linguistic"]["leave_one_out"]
        count = len(line["words"])
        assert np.shape(effects) == (count, count) and not np.triu(effects).any()
        assert np.abs(effects).max() > 0
        assert line["caption"] == first[file]["caption"]
        assert json.loads(json.dumps(Result.from_json(line).to_json())) == line
    assert '<figure class="earlier">' in (out / "index.html").read_text("utf-8")

    assert run(model, images, out, "--linguistic=leave_one_out") == 0  # nothing is missing now
    assert run(model, images, out, "--linguistic=guess") == 2
    assert "unknown way 'guess'" in capsys.readouterr().err


def test_it_can_be_left_out(model, tmp_path):
    images, out = tmp_path / "images", tmp_path / "out"
    write_photographs(images, 2)
    assert run(model, images, out, "--no-visual-information") == 0
    assert all("visual_information" not in line for line in lines(out).values())
    assert "under each word" not in (out / "index.html").read_text("utf-8")
