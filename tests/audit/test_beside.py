"""What an audit finds with more than the results: another run, queries, groups, findings."""

import json

import numpy as np
import pytest
from scipy import stats

from capjax.audit.__main__ import main
from capjax.audit.metadata import read_groups
from tests.audit.corpus import Corpus
from tests.audit.running import audited, flagged, rows

DONE = ("lost", "gained")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run without faults, of queries too few to ask."""
    return Corpus(count=80).write(tmp_path_factory.mktemp("beside") / "run")


def metadata(path, corpus, **columns):
    """A CSV file: columns by name, each a function of an image's number."""
    lines = [",".join(["camera", "image", *columns])]
    for number in range(corpus.count):
        cells = [str(own(number)) for own in columns.values()]
        lines.append(",".join(["x", corpus.name(number), *cells]))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_group_with_emptier_maps_is_found_and_no_other(tmp_path):
    corpus = Corpus(count=100, empty=frozenset({3, 7}))
    folder = corpus.write(tmp_path / "run")
    light = lambda number: "night" if number % 10 in (3, 7) else "day"  # noqa: E731
    parity = lambda number: ("even", "odd")[(number // 10) % 2]  # noqa: E731
    table = metadata(tmp_path / "meta.csv", corpus, light=light, parity=parity)
    out = audited(folder, tmp_path / "out", f"--metadata={table}", "--by=light,parity")
    found = flagged(out, "groups_of_images", "column", "group", "number")
    assert {own[:2] for own in found} == {("light", "night")}
    told = {own[2] for own in found}
    assert {"empty maps (one)", "entropy (other)", "largest value (one)"} <= told
    assert not {own for own in told if own.startswith(("score", "log-p", "bits", "doubt"))}
    (row,) = (
        own
        for own in rows(out, "groups_of_images")
        if (own["group"], own["number"]) == ("night", "empty maps (one)")
    )
    numbers = [float(row[name]) for name in ("images", "mean", "mean of others", "above")]
    assert numbers == [20, 1, 0, 1]


def test_groups_may_come_from_what_the_run_stored(tmp_path):
    corpus = Corpus(count=60, empty=frozenset({3, 7}))
    folder = corpus.write(tmp_path / "run")
    lines = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    with open(folder / "results.jsonl", "w") as stream:
        for line in lines:
            night = int(line["file"][-5]) in (3, 7)
            stored = {"metadata": {"night": night, "lens": 35}}
            stream.write(json.dumps({**line, **stored}) + "\n")
    out = audited(folder, tmp_path / "out", "--by=night")
    found = flagged(out, "groups_of_images", "column", "group")
    assert set(found) == {("night", "True")}
    assert main([f"--results={folder}", f"--out={tmp_path / 'none'}", "--by=camera"]) == 2


def test_no_group_is_found_where_all_are_alike(tmp_path, folder):
    corpus = Corpus(count=80)
    table = metadata(tmp_path / "meta.csv", corpus, part=lambda number: number % 4)
    out = audited(folder, tmp_path / "out", f"--metadata={table}", "--by=part")
    assert len(rows(out, "groups_of_images")) == 4 * 12
    assert not flagged(out, "groups_of_images", "group")
    assert "comparisons of a group with the others is worse" in (out / "index.html").read_text()


def test_a_group_that_misses_its_objects_is_found_with_boxes(tmp_path):
    corpus = Corpus(count=80, misplaced="cat")
    folder = corpus.write(tmp_path / "run")
    (tmp_path / "boxes.json").write_text(json.dumps(corpus.boxes()))
    cat = lambda number: "cat" if "cat" in corpus.caption(number).split() else "none"  # noqa: E731
    table = metadata(tmp_path / "meta.csv", corpus, pet=cat)
    more = f"--metadata={table}", "--by=pet", f"--boxes={tmp_path / 'boxes.json'}"
    out = audited(folder, tmp_path / "out", *more)
    found = flagged(out, "groups_of_images", "group", "number")
    assert set(found) == {("cat", f"misses what words name ({own})") for own in ("one", "other")}


def test_groups_are_read_from_values_and_quarters(tmp_path):
    files = [f"a/{number}.jpg" for number in range(40)]
    lines = ["name,year,kind", *(f"{number}.jpg,{number},{number % 2}" for number in range(39))]
    (tmp_path / "meta.csv").write_text("\n".join(lines))
    (year, kind), notes = read_groups(str(tmp_path / "meta.csv"), ["year", "kind"], files)
    assert kind.labels == ("0", "1") and list(kind.codes) == [*(n % 2 for n in range(39)), -1]
    assert year.labels == ("0 to 9.5", "9.5 to 19", "19 to 28.5", "28.5 to 38")
    assert np.bincount(np.asarray(year.codes)[:39]).tolist() == [10, 9, 10, 10]
    assert notes == [f"1 of 40 images are not in {tmp_path / 'meta.csv'} and are in no group"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,size\n1.jpg,2\n", "has no column 'kind'; it has: 'image', 'size'"),
        ("image,kind\n7.jpg,2\n", "names none of the 2 images in its column 'image'"),
        ("image,kind\n1.jpg\n", "line 2 of .* has 1 cell, its first line 2"),
        ("image,kind\n1.jpg,a\n1.jpg,b\n", "the kind of '1.jpg' is 'b'; an earlier line says 'a'"),
    ],
)
def test_wrong_tables_of_metadata_are_refused(tmp_path, text, said):
    (tmp_path / "meta.csv").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_groups(str(tmp_path / "meta.csv"), ["kind"], ["1.jpg", "2.jpg"])


def test_a_run_against_itself_differs_in_nothing(tmp_path, folder):
    out = audited(folder, tmp_path / "out", f"--against={folder}")
    page = (out / "index.html").read_text()
    assert "Of 80 images 0 have another caption" in page
    assert {float(row["Spearman"]) for row in rows(out, "agreement_of_maps_by_word")} == {1.0}
    assert not (out / "captions_that_changed.csv").exists()


def test_two_runs_are_compared_word_by_word(tmp_path, folder):
    """The other run says “big” in place of “red”, and has maps of another draw."""

    class Other(Corpus):
        def caption(self, number):
            return super().caption(number).replace("red", "big")

        def name(self, number):
            return super().name(number) if number else "9/alone.jpg"

    ours, theirs = Corpus(count=80), Other(count=80, seed=1)
    there = theirs.write(tmp_path / "there")
    out = audited(folder, tmp_path / "out", f"--against={there}")
    red = sum("red" in ours.caption(number).split() for number in range(1, 80))
    moved = {row["word"]: row for row in rows(out, "words_lost_and_gained")}
    assert set(flagged(out, "words_lost_and_gained", "word")) == {("red",), ("big",)}
    assert (
        int(moved["red"]["images that gained it"]),
        int(moved["red"]["images that lost it"]),
    ) == (
        red,
        0,
    )
    assert int(moved["big"]["images that lost it"]) == red
    page = (out / "index.html").read_text()
    assert f"Of 79 images {red} have another caption" in page and "1 images only here" in page
    assert len(rows(out, "captions_that_changed")) == red
    table = rows(out, "agreement_of_maps_by_method")
    means = []
    for number in range(1, 80):
        words = tuple(ours.caption(number).split())
        kept = [at for at, word in enumerate(words) if word != "red"]
        pairs = zip(
            ours.maps(number, "one", words)[kept],
            theirs.maps(number, "one", tuple(theirs.caption(number).split()))[kept],
            strict=True,
        )
        means.append(
            np.mean([stats.spearmanr(one.ravel(), other.ravel())[0] for one, other in pairs])
        )
    (one,) = (row for row in table if row["method"] == "one")
    assert float(one["Spearman"]) == pytest.approx(np.mean(means))
    interval = stats.ttest_1samp(means, 0).confidence_interval()
    assert float(one["from"]) == pytest.approx(interval.low)


def test_images_are_ranked_by_a_query(tmp_path):
    corpus = Corpus(count=40, query="a red dog")
    folder = corpus.write(tmp_path / "run")
    out = audited(folder, tmp_path / "out", "--query=A red [dog]")
    table = rows(out, "images_by_query")
    ranked = [row for row in table if row["ordered by"] == "log-probability"]
    assert [row["image"] for row in ranked] == [corpus.name(number) for number in range(39, -1, -1)]
    sharp = [row for row in table if row["ordered by"] == "sharpness by one"]
    order = [float(row["sharpness by one"]) for row in sharp]
    assert len(sharp) == 40 and order == sorted(order, reverse=True)
    entropy = {}
    for number in range(40):
        maps = corpus.maps(number, "one", ("a", "red", "dog")).reshape(3, -1).astype(np.float64)
        entropy[corpus.name(number)] = np.mean(stats.entropy(maps, axis=1)) / np.log(16)
    assert [row["image"] for row in sharp][0] == min(entropy, key=entropy.get)
    assert order[0] == pytest.approx(1 - min(entropy.values()), abs=1e-3)


def test_objects_are_ranked_by_what_their_removal_changes(tmp_path):
    corpus = Corpus(count=60, findings=True)
    out = audited(corpus.write(tmp_path / "run"), tmp_path / "out")
    table = rows(out, "objects_that_change_captions")
    assert [row["class"] for row in table] == ["car", "cat", "dog", "cup"]
    car, *_, cup = table
    assert float(car["mean distance"]) == pytest.approx(0.9)
    assert (float(car["changes"]), float(car["named"]), float(car["mean bits lost"])) == (1, 1, 5)
    assert (int(cup["images"]), float(cup["changes"]), float(cup["named"])) == (60, 0, 0)
    assert "“car” changes captions most" in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (
            "--query=a cat",
            "--query='a cat' is not among the sentences of the run: it explained the",
        ),
        ("--by=kind", "no image of the run has the metadata 'kind'; they have none"),
        ("--metadata=none.csv", "--metadata=none.csv groups nothing: add --by"),
        ("--against=nowhere", "nowhere is not there"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, folder, capsys, option, said):
    assert main([f"--results={folder}", f"--out={tmp_path / 'out'}", option]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
