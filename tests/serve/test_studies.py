"""Studies over HTTP are those of Python, told of as they go on, and refused in words."""

import base64
import io
import json
import typing

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.inpaint.fills.named import FILLS
from capjax.studies.concepts import Concept, ConceptMaps, ConceptSet, Example
from tests.explainers.toys import attentive
from tests.serve.serving import asked, held, picture, post, running, served

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from capjax.serve.app import make_app  # noqa: E402
from capjax.serve.asking.fitted_concepts import FittedConcepts  # noqa: E402
from capjax.serve.asking.removing import AtPoint, Drawn  # noqa: E402
from capjax.serve.guard import Access  # noqa: E402
from capjax.serve.limits import Limits  # noqa: E402
from capjax.serve.parameters import Fill  # noqa: E402

LIMITS = Limits(regions=2, corners=5)
REGION = "0.2,0.3 0.6,0.3 0.6,0.7 0.2,0.7"


def concepts_of(captioner, word, seed=0, p=0.01):
    """Two concepts of random directions; only the first is significant where `p` is small."""
    draw = np.random.default_rng(seed)
    mask = np.zeros((64, 64), bool)
    mask[:8, :8] = True

    def concept(p):
        vector = draw.normal(size=24).astype(np.float32)
        vector /= np.linalg.norm(vector)
        scores = draw.uniform(0.8, 1, 5).astype(np.float32)
        return Concept(vector, scores, 0.9, p, p, p, 30, 20, (Example("a.png", mask),))

    return ConceptSet(
        word,
        "",
        (concept(p), concept(0.9)),
        0.05,
        draw.uniform(0, 1, 9).astype(np.float32),
        {"model": captioner.hash},
    )


@pytest.fixture(scope="module")
def concepts(tmp_path_factory):
    """Concepts of two words in a folder, one with its sheet, and a word that has none."""
    folder = tmp_path_factory.mktemp("concepts")
    captioner = attentive()
    for seed, word in enumerate(("horse", "dogs")):
        concepts_of(captioner, word, seed).save(folder / f"{word}.safetensors")
    concepts_of(captioner, "ball", p=0.5).save(folder / "ball.safetensors")
    (folder / "horse.png").write_bytes(picture(9))
    told = []
    found = FittedConcepts.read(captioner, folder, told.append)
    assert told == ["ball.safetensors has no significant concept; it is left out"]
    return found


@pytest.fixture(scope="module")
def port(concepts):
    app = make_app(held(served(concepts=concepts)), LIMITS, Access(), warm=False)
    with running(app) as port:
        yield port


def decoded(png):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_a_region_is_removed_as_python_removes_it(port):
    content = picture(4, (80, 100))
    status, answer = post(port, f"/counterfactual?region={REGION.replace(' ', '%20')}", content)
    assert status == 200, answer
    mask = np.zeros((80, 100), bool)
    mask[24:56, 20:60] = True
    image = np.asarray(Image.open(io.BytesIO(content)))
    (found,) = Drawn((((0.2, 0.3), (0.6, 0.3), (0.6, 0.7), (0.2, 0.7)),)).regions("", image)
    np.testing.assert_array_equal(found.mask, mask)
    expected = capjax.counterfactual(
        served().captioner,
        image,
        masks={"region": mask},
        methods="attention",
        most=0.6,
        side=640,
        at_once=2,
    ).findings["counterfactual"]
    assert answer["numbers"]["objects"] == 1 and answer["study"] == "counterfactual"
    np.testing.assert_array_equal(
        decoded(answer["pictures"]["without region"]), expected.pictures["without region"]
    )
    tables = {title: table.to_json() for title, table in expected.tables.items()}
    assert {*answer["tables"]} == {*tables}
    for title, table in tables.items():
        assert len(answer["tables"][title]["rows"]) == len(table["rows"])
        for row, other in zip(answer["tables"][title]["rows"], table["rows"], strict=True):
            drawn = ["polygon" if cell == "picture" else cell for cell in other]  # the outline
            assert row == pytest.approx(drawn, abs=1e-4)
    assert "without region" in answer["spots"] and "view" not in answer


def test_each_object_is_removed_with_progress(port):
    pytest.importorskip("skimage", reason="the extra `segments` is not installed")
    pixels = np.full((64, 96, 3), 200, np.uint8)
    pixels[20:40, 10:30], pixels[30:50, 60:80] = (220, 30, 30), (20, 60, 200)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    accept = {"Accept": "text/event-stream"}
    _, headers, content = asked(
        port, "POST", "/counterfactual?view=true", stream.getvalue(), accept
    )
    assert headers["content-type"].startswith("text/event-stream")
    parts = content.decode().strip().split("\n\n")
    events = [part.split("\n") for part in parts if not part.startswith(":")]
    values = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    assert [lines[0] for lines in events] == ["event: progress"] * (len(events) - 1) + [
        "event: result"
    ]
    assert len(events) > 3 and all(value["method"] == "counterfactual" for value in values[:-1])
    assert all(0 <= value["done"] <= value["of"] for value in values[:-1])
    found = values[-1]
    assert found["numbers"]["objects"] >= 1
    assert found["view"]["html"].startswith('<section class="finding">')
    assert found["view"]["html"].count('class="spot"') == found["numbers"]["objects"]
    at = next(iter(found["spots"].values()))["box"]
    point = f"{(at[0] + at[2]) / 2:.3f},{(at[1] + at[3]) / 2:.3f}"
    status, one = post(port, f"/counterfactual?at={point}", stream.getvalue())
    assert status == 200 and one["numbers"]["objects"] == 1, one


class Known:
    """Objects that a test gives."""

    def __init__(self, *found):
        self.found = found

    def regions(self, name, image):
        return list(self.found)


def test_the_smallest_object_at_a_point_is_meant():
    image = np.zeros((10, 20, 3), np.uint8)
    large, small = Drawn((((0, 0), (1, 0), (1, 1)), ((0.5, 0), (1, 0), (1, 0.5)))).regions(
        "", image
    )
    assert small.area < large.area
    assert AtPoint(Known(large, small), (1.0, 0.0)).regions("", image) == [small]
    assert AtPoint(Known(large, small), (0.3, 0.1)).regions("", image) == [large]
    with pytest.raises(ValueError, match="draw around what is to be removed"):
        AtPoint(Known(large, small), (0.1, 0.9)).regions("", image)


def test_nothing_at_a_point_is_said(port):
    pytest.importorskip("skimage", reason="the extra `segments` is not installed")
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(flat, "PNG")
    status, answer = post(port, "/counterfactual?at=0.5,0.5", flat.getvalue())
    assert status == 200 and answer["refused"] and not answer["pictures"], answer


def test_adversarial_pictures_are_those_of_python(port):
    from capjax.studies.adversarial.study import Adversarial

    content = picture(5, (64, 64))
    query = "attack=fgsm&epsilon=16&goal=without&words=horse,dogs&view=true"
    status, answer = post(port, f"/adversarial?{query}", content)
    assert status == 200, answer
    study = Adversarial(
        attack="fgsm",
        goal="without",
        words="horse,dogs",
        epsilon=16,
        epsilons=(16,),
        methods="",
        at_once=1,
    )
    (found,) = capjax.explain(served().captioner, content, methods="attention", studies=[study])
    expected = found.findings["adversarial"]
    assert {*answer["pictures"]} == {*expected.pictures}
    before, after = (decoded(answer["pictures"][f"{kind}picture"]) for kind in ("", "adversarial "))
    np.testing.assert_array_equal(after, expected.pictures["adversarial picture"])
    assert 0 < np.abs(before.astype(int) - after).max() <= 16
    assert any(title.startswith("change × ") for title in answer["pictures"])
    captions = expected.tables["captions"].to_json()
    assert answer["tables"]["captions"] == captions
    assert answer["settings"]["epsilon"] == 16 and "was" in answer["view"]["html"]


def test_concepts_that_were_fitted_are_a_method(port, concepts):
    content = picture(6)
    status, answer = post(port, "/explain?methods=concepts,attention&query=two+dogs", content)
    assert status == 200, answer
    sets = [concepts.sets[word] for word in ("dogs", "horse")]
    (expected,) = capjax.explain(
        served().captioner,
        content,
        methods=[ConceptMaps.of(served().captioner, sets)],
        query="two dogs",
    )
    found = answer["methods"]["concepts"]["maps"]
    values = np.frombuffer(base64.b64decode(found["float32"]), "<f4").reshape(found["shape"])
    np.testing.assert_allclose(values, expected["concepts"].maps, atol=1e-5)
    assert not values[0].any() and values[1].any()  # of "two" nothing is known
    model = json.loads(asked(port, "GET", "/model")[2])
    assert model["concepts"] == ["dogs", "horse"] and model["sheets"] == ["horse"]
    assert asked(port, "GET", "/concepts/horse.png")[2] == picture(9)
    for word in ("dogs", "..%2fhorse", "zebra"):
        assert asked(port, "GET", f"/concepts/{word}.png")[0] == 404


def test_concepts_are_of_their_own_model(tmp_path):
    concepts_of(attentive(1), "horse").save(tmp_path / "horse.safetensors")
    with pytest.raises(ValueError, match="directions in the model"):
        FittedConcepts.read(attentive(), tmp_path, print)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/counterfactual?at=0.5,0.5&region=" + REGION, "give one of them"),
        ("/counterfactual?at=2,0.5", "from 0 to 1"),
        ("/counterfactual?at=nan,0.5", "from 0 to 1"),
        ("/counterfactual?at=0.5", "one point"),
        ("/counterfactual?region=0,0 1,1", "3 to 5 points"),
        ("/counterfactual?region=" + "0.1,0.2 " * 6, "3 to 5 points"),
        ("/counterfactual" + "&region=0,0 1,0 1,1".replace("&", "?") + 2 * "&region=a", "up to 2"),
        ("/counterfactual?fill=gated", "fill"),
        ("/adversarial?epsilon=256", "epsilon"),
        ("/adversarial?goal=without", "needs words"),
        ("/adversarial?goal=keywords&words=zebra", "zebra"),
        ("/adversarial?attack=show_and_fool", "attack"),
        ("/adversarial?model=other", "this server holds: toy"),
    ],
)
def test_impossible_studies_are_refused(port, path, told):
    status, answer = post(port, path.replace(" ", "%20"), picture())
    assert status == 422 and told in answer["detail"], answer


def test_without_concepts_it_is_said_how_to_fit_them():
    with running(make_app(held(), LIMITS, Access(), warm=False)) as port:
        status, answer = post(port, "/explain?methods=concepts", picture())
    assert status == 422 and "concepts fit --model=" in answer["detail"]


def test_two_captioners_answer_each_for_itself():
    both = held(served(), served("other", seed=1))
    with running(make_app(both, LIMITS, Access(), warm=False)) as port:
        found = {}
        for name in ("", "toy", "other"):
            status, found[name] = post(port, f"/caption?model={name}", picture(3))
            assert status == 200, found[name]
            (own,) = capjax.caption(
                both[name or "toy"].captioner,
                picture(3),
                decoding=both["toy"].decoding,
                max_len=5,
            )
            assert found[name]["caption_tokens"] == [*own.tokens]
        assert found[""] == found["toy"] != found["other"]
        model = json.loads(asked(port, "GET", "/model")[2])
        assert model["model"] == "toy" and [*model["models"]] == ["toy", "other"]
        hashes = [own["hash"] for own in model["models"].values()]
        assert hashes == [own.captioner.hash for own in both.values()] and len({*hashes}) == 2


def test_every_fill_that_needs_no_weights_can_be_asked_for():
    asked_for = typing.get_args(Fill)
    assert {*asked_for} == {*FILLS} - {"gated"}
