"""Grounding from end to end: the shipped captioner on scenes, an untrained one on odd files."""

import csv
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from capjax.api import load
from capjax.captioner import Captioner, build_net
from capjax.data.boxes.grounded import GroundedCaption, GroundedEvent, GroundedPhrase, Timeline
from capjax.data.captions.records import Record
from capjax.data.pictures.frame_times import frame_indices
from capjax.data.scenes.still import write_folder
from capjax.decoders import AttentionLSTM
from capjax.decoding import Greedy
from capjax.encoders import ConvNet
from capjax.evaluate import __main__ as evaluate
from capjax.evaluate.grounding import Scores, score_events, score_phrases
from capjax.evaluate.queries import Protocol, Query, narrowed, phrase_queries, with_crop
from capjax.explainers import METHODS
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.wording import Wording
from capjax.ops.upsample import upsample
from capjax.studies.concepts import Concept, ConceptSet, Example
from capjax.text.vocabulary import Vocabulary
from capjax.types import Caption, Explanation, Preprocessing
from tests import compiled

SCENES = 6


@pytest.fixture(scope="module")
def shipped():
    return load("scenes-soft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("scenes"), SCENES, "val")
    (folder / "Sentences").mkdir()
    (folder / "Annotations").mkdir()
    body = json.loads((folder / "captions_val.json").read_text())
    things = json.loads((folder / "instances_val.json").read_text())["annotations"]
    for image, annotation in zip(body["images"], body["annotations"], strict=True):
        name = image["file_name"].removesuffix(".png")
        words = annotation["caption"].split()
        objects = ""
        for number, (start, end, of) in enumerate(annotation["mentions"]):
            words[start] = f"[/EN#{number + 1}/{'people' if number else 'other'} {words[start]}"
            words[end - 1] += "]"
            x, y, width, height = things[of]["bbox"]
            objects += (
                f"<object><name>{number + 1}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
                f"<xmax>{x + width}</xmax><ymax>{y + height}</ymax></bndbox></object>"
            )
        (folder / f"Sentences/{name}.txt").write_text(" ".join(words) + " .\n")
        size = f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"
        xml = f"<annotation>{size}{objects}</annotation>"
        (folder / f"Annotations/{name}.xml").write_text(xml)
    return folder


@pytest.fixture(autouse=True)
def without_java(monkeypatch):
    """METEOR is reported as unavailable, and costs nothing."""
    monkeypatch.setenv("PATH", "")


def run(folder, *options):
    """Exit code, and what metrics.json holds."""
    out = folder / "out" / "metrics.json"
    fixed = ["--model=scenes-soft", f"--captions={folder}/captions_val.json", f"--out={out}"]
    code = evaluate.main([*fixed, "--beam=1", "--batch-size=4", "--grounding", *options])
    return code, json.loads(out.read_text()) if code == 0 else None


def test_maps_of_scenes_point_at_what_words_name(folder, capsys):
    boxes = f"--boxes={folder}/instances_val.json"
    code, metrics = run(folder, boxes, "--methods=attention,caption_guided")
    assert code == 0
    assert list(metrics["grounding"]) == ["attention", "caption_guided"]
    told = json.loads((folder / "captions_val.json").read_text())["annotations"]
    mentions = [mention for own in told for mention in own["mentions"]]
    things = json.loads((folder / "instances_val.json").read_text())
    sizes = {image["id"]: image["height"] * image["width"] for image in things["images"]}
    shares = [
        box[2] * box[3] / sizes[thing["image_id"]]
        for thing in things["annotations"]
        for box in [thing["bbox"]]
    ]
    for own in metrics["grounding"].values():
        assert own["n"] == len(mentions) and own["images"] == SCENES
        assert own["baselines"]["random"] == pytest.approx(np.mean(shares))
        assert own["baselines"]["uniform"] == own["baselines"]["random"]
        low, high = own["interval"]["pointing_game"]
        assert low <= own["pointing_game"] <= high
        assert own["pointing_game"] > 3 * own["baselines"]["random"]
        assert own["attention_correctness"] > own["baselines"]["uniform"]
        assert sum(part["n"] for part in own["categories"].values()) == len(mentions)
    printed = capsys.readouterr().out
    with (folder / "out/metrics.phrases.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    nouns = {own["caption"].split()[end - 1] for own in told for _, end, *_ in own["mentions"]}
    assert {row["words"] for row in rows} == nouns
    for name, own in metrics["grounding"].items():
        hits = [float(row[f"{name}.pointing_game"]) for row in rows]
        assert len(hits) == own["n"] and np.mean(hits) == pytest.approx(own["pointing_game"])
    assert str(folder / "out/metrics.phrases.csv") in printed
    for part in (
        "Pointing game",
        "Over the centre",
        "Attention correctness",
        "random",
        "centre",
        "uniform",
    ):
        assert part in printed


def test_concepts_are_scored_beside_other_methods_on_their_word_alone(folder, shipped, capsys):
    told = json.loads((folder / "captions_val.json").read_text())["annotations"]
    nouns = [own["caption"].split()[end - 1] for own in told for _, end, *_ in own["mentions"]]
    word = max(nouns, key=nouns.count)
    see = functools.partial(shipped.net.apply, shipped.variables, method="encode")
    image = jax.ShapeDtypeStruct((1, *shipped.preprocessing.size, 3), np.uint8)
    channels = jax.eval_shape(see, image).positions.shape[-1]
    example = Example("a", np.ones((4, 4), bool))
    vector = np.random.default_rng(0).normal(size=channels)
    concept = Concept(vector, np.ones(2), 1.0, 0.0, 0.0, 0.0, 9, 9, (example,))
    made_from = {"model": shipped.hash}
    path = folder / f"{word}.safetensors"
    ConceptSet(word, "", (concept,), 0.05, np.zeros(2), made_from).save(path)
    boxes = f"--boxes={folder}/instances_val.json"
    asked = boxes, "--methods=concepts,attention", "--concepts", str(path)
    code, metrics = run(folder, *asked)
    assert code == 0 and list(metrics["grounding"]) == ["concepts", "attention"]
    with (folder / "out/metrics.phrases.csv").open() as lines:
        assert [row["words"] for row in csv.DictReader(lines)] == [word] * nouns.count(word)
    left_out = f"{len(nouns) - nouns.count(word)} phrases of words that one of the methods says"
    for own in metrics["grounding"].values():
        assert own["n"] == nouns.count(word) and left_out in own["notes"][-1]
    assert run(folder, boxes, "--methods=concepts")[0] == 2
    assert "needs --concepts=FILE" in capsys.readouterr().err


def test_entities_give_the_published_columns(folder, capsys):
    code, metrics = run(folder, f"--entities={folder}", "--methods=attention")
    assert code == 0
    own = metrics["grounding"]["attention"]
    assert list(own["categories"]) == ["people", "other"]  # the published order
    assert own["categories"]["other"]["n"] == SCENES
    header = next(s for s in capsys.readouterr().out.splitlines() if s.startswith("Pointing"))
    assert header.split() == ["Pointing", "game", "people", "other", "micro", "average"]
    boxes = f"--boxes={folder}/instances_val.json"
    _, nouns = run(folder, boxes, "--methods=attention", "--queries=predicted", "--ties=mean")
    assert nouns["grounding"]["attention"]["protocol"]["queries"] == "predicted"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "pass --boxes=COCO_INSTANCES_JSON"),
        (["--methods=none", "--boxes=instances_val.json"], "unknown method 'none'"),
        (["--boxes=absent.json"], "absent.json"),
        (["--boxes=captions_val.json"], "no COCO instances JSON"),
        (["--entities=images"], "no sentence about these 6 images"),
    ],
)
def test_wrong_usage_is_explained(folder, monkeypatch, capsys, options, text):
    monkeypatch.chdir(folder)
    assert run(folder, *options)[0] == 2
    assert text in capsys.readouterr().err


@dataclasses.dataclass(frozen=True)
class Given:
    """A source that says what it is given."""

    phrase: GroundedPhrase

    def size(self, record):
        return (200, 300)

    def captions(self, record):
        words = ("A", "[", "large", "]", "circle", ".")
        return [GroundedCaption(words, (self.phrase,))]

    def phrases(self, record, words):
        return (self.phrase,)


def test_queries_carry_boxes_of_what_the_model_sees(shipped, tmp_path):
    square = dataclasses.replace(
        shipped, preprocessing=dataclasses.replace(shipped.preprocessing, size=(224, 224))
    )
    cropped = with_crop(square, "central")
    assert cropped.preprocessing.shorter == 256 and cropped.preprocessing.resize == "crop"
    assert with_crop(square, "none") is square
    wide = dataclasses.replace(square.preprocessing, size=(96, 128))
    with pytest.raises(ValueError, match="square input"):
        with_crop(dataclasses.replace(square, preprocessing=wide), "central")
    record = Record("a.png", tmp_path / "a.png", ("x",), "val", 0)
    phrase = GroundedPhrase(2, 5, ((100, 50, 150, 100),), ("c",))
    (query,), dropped = phrase_queries(
        cropped, [record], Given(phrase), protocol=Protocol(crop="central")
    )
    assert query.sentence.words == ("a", "large", "circle")
    (own,) = query.phrases
    assert (own.start, own.end) == (1, 3)
    assert own.boxes == ((48, 48, 112, 112),) and query.size == (224, 224) and dropped == 0
    outside = dataclasses.replace(phrase, boxes=((0, 0, 40, 199),))
    queries, dropped = phrase_queries(
        cropped, [record], Given(outside), protocol=Protocol(crop="central")
    )
    assert queries == [] and dropped == 1
    tokens = tuple(square.text.encode("a circle"))
    said = Caption("a circle", ("a", "circle"), tokens, np.zeros(3), 0.0, True)
    (query,), _ = phrase_queries(
        square, [record], Given(phrase), protocol=Protocol(queries="predicted"), predicted=[said]
    )
    assert query.sentence.words == ("a", "circle") and query.size == (200, 300)


def test_only_the_words_that_point_are_explained_and_score_the_same(shipped, folder):
    sentence = Wording.of_query(shipped, "a large red ring above a small zebra circle")
    phrases = (
        GroundedPhrase(7, 9, ((0, 0, 9, 9),), ("circle",)),
        GroundedPhrase(3, 4, ((4, 4, 9, 9),), ("ring",)),
    )
    timeline = Timeline(sentence.words, (GroundedEvent(4, 5, 0, 2),), 4)
    whole = Query(0, (20, 30), sentence, phrases, timeline)
    few = narrowed(whole)
    assert few.sentence.tokens == sentence.tokens and few.sentence.unknown == (2,)
    assert few.sentence.words == ("ring", "above", "zebra", "circle")
    for query in (whole, few):
        parts = [*query.phrases, *query.timeline.events]
        words = [query.sentence.words[part.start : part.end] for part in parts]
        assert words == [("zebra", "circle"), ("ring",), ("above",)]
    picture = np.asarray(Image.open(folder / "images/scene_00000.png").resize((80, 80)))[None]
    chosen = check_methods(shipped, ("gradcam", "caption_guided"))
    given = {"methods": chosen, "decoding": Greedy(), "max_len": 9}
    ((found,),) = explain_batch(shipped, picture, [(80, 80)], queries=[[sentence]], **given)
    ((again,),) = explain_batch(
        shipped, picture, [(80, 80)], queries=[[few.sentence]], narrow=True, **given
    )
    for method, explanation in found.explanations.items():
        expected = explanation.maps[[3, 4, 7, 8]]
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(again.explanations[method].maps, expected, atol=tolerance)


def explained(maps, *, size=(20, 30), frames=None):
    """An explanation of three words on a grid over an image of `size`."""
    maps = np.asarray(maps, np.float32)
    geometry = Preprocessing(size).geometry(size, maps.shape[-2:])
    words = ("a", "dog", "runs")
    spans = ((0, 1), (1, 2), (2, 3))
    return Explanation(maps, words, spans, np.zeros(3), "x", geometry, frame_maps=frames)


def test_additive_maps_are_summed_and_attention_takes_the_best_word():
    maps = np.zeros((3, 1, 2, 3))
    maps[0, 0, 0, 0] = 3.0  # no word of the phrase
    maps[1, 0, 0, 2] = 2.0
    maps[2, 0, 1, 1] = 1.0
    sentence = Wording((4, 5, 6), ("a", "dog", "runs"), ((0, 1), (1, 2), (2, 3)))
    right = GroundedPhrase(1, 3, ((20, 0, 29, 9),), ("person", "x"))
    query = Query(4, (20, 30), sentence, (right, dataclasses.replace(right, start=0)))
    scores = Scores()
    both = {"attention": explained(maps), "caption_guided": explained(maps - 9)}
    rules = {name: (METHODS[name].PHRASE, METHODS[name].SPREAD) for name in both}
    assert rules == {"attention": ("max", "sum"), "caption_guided": ("sum", "span")}
    score_phrases(scores, query, both, Protocol(), rules)
    assert scores.images == [4, 4]
    assert scores.methods["attention"]["pointing_game"] == [1, 0]
    assert scores.methods["caption_guided"]["pointing_game"] == [1, 0]
    dog, runs, first = (upsample(own, both["attention"].geometry)[0] for own in maps[[1, 2, 0]])
    shares = [own[:10, 20:].sum() / own.sum() for own in (dog, runs, first)]
    added = dog + runs
    found = scores.methods["attention"]["attention_correctness"]
    np.testing.assert_allclose(found, [max(shares[:2]), max(shares)], rtol=1e-5)
    found = scores.methods["caption_guided"]["attention_correctness"]
    np.testing.assert_allclose(found[0], added[:10, 20:].sum() / added.sum(), rtol=1e-5)
    summary = scores.summary("attention", order=None)
    assert summary["groups"]["person"]["n"] == 2 and "other" not in summary["groups"]
    assert summary["baselines"] == {"random": 1 / 6, "uniform": 1 / 6, "centre": 0}
    assert summary["pointing_game_over_centre"] == 0.5


def test_events_are_pointed_at_in_time():
    frames = np.array([[9, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 3]])
    maps = np.zeros((3, 4, 2, 3))
    events = (GroundedEvent(1, 2, 1, 2), GroundedEvent(1, 3, 0, 3))
    sentence = Wording((4, 5, 6), ("a", "dog", "runs"), ((0, 1), (1, 2), (2, 3)))
    query = Query(0, (1, 1), sentence, timeline=Timeline(sentence.words, events, 4))
    scores = Scores()
    score_events(scores, query, {"caption_guided": explained(maps, frames=frames)})
    assert scores.methods["caption_guided"]["temporal_pointing"] == [1, 0]
    assert scores.baselines["random"] == [0.25, 0.75]
    assert scores.categories == [("dog",), ("dog runs",)]
    with pytest.raises(ValueError, match="a captioner of clips"):
        score_events(scores, query, {"gradcam": explained(maps)})


def test_events_of_clips_from_files(tmp_path):
    """An untrained captioner of clips: no number to expect, but every event is asked about."""
    pytest.importorskip("av", reason="needs PyAV: pip install 'capjax[video]'")
    from capjax.data.scenes import moving as moving_scenes

    folder = moving_scenes.write_folder(tmp_path, 2, "val")
    told = json.loads((folder / "captions_val.json").read_text())["annotations"]
    text = Vocabulary.build([own["caption"] for own in told])
    preprocessing = dataclasses.replace(ConvNet.preprocessing((16, 16)), frames=13)
    decoder = AttentionLSTM(text.size, 8, hidden=6, embedding=5)
    net = build_net(ConvNet(widths=(8, 8), residuals=(0, 0)), decoder, preprocessing)
    pixels = jnp.zeros((1, 13, 16, 16, 3), jnp.uint8)
    variables = compiled.init(net, jax.random.key(3), pixels, jnp.zeros((1, 2), jnp.int32))
    Captioner(net, variables, text, preprocessing, {}).save(tmp_path / "model")
    out = tmp_path / "m.json"
    files = [f"--captions={folder}/captions_val.json", f"--images={folder}/clips", f"--out={out}"]
    flags = ["--beam=1", "--max-length=4", "--batch-size=2", "--grounding"]
    flags += ["--methods=caption_guided"]
    assert evaluate.main([f"--model={tmp_path}/model", *files, *flags]) == 0
    own = json.loads(out.read_text())["grounding"]["caption_guided"]["temporal"]
    assert own["n"] == sum(len(one["events"]) for one in told)
    frames = moving_scenes.FRAMES
    shares = [
        sum(event[3] <= shown < event[4] for shown in frame_indices(frames, 13)) / 13
        for one in told
        for event in one["events"]
    ]
    assert own["baselines"]["random"] == pytest.approx(np.mean(shares))
