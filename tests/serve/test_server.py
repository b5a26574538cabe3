"""Answers over HTTP are those of Python, and everything else is refused in words."""

import base64
import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import capjax
from capjax.folder.records import Result
from tests.serve.malformed import malformed
from tests.serve.serving import asked, held, picture, post, running, served

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from capjax.serve import samples  # noqa: E402
from capjax.serve.__main__ import main  # noqa: E402
from capjax.serve.app import make_app  # noqa: E402
from capjax.serve.asking import maps as asking  # noqa: E402
from capjax.serve.asking.maps import Maps  # noqa: E402
from capjax.serve.guard import Access  # noqa: E402
from capjax.serve.limits import Limits  # noqa: E402
from capjax.serve.programs import Programs  # noqa: E402
from capjax.serve.uploads import check_name, read_upload  # noqa: E402
from capjax.serve.worker import Worker  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(bytes=200_000, pixels=1_000_000, upload_seconds=0.5, sentences=2, methods=2)

MALFORMED = dict(malformed())

hearers: list[list[str]] = []
"""Each hears of files that are opened to be written."""


def _note(event, arguments):
    if hearers and event == "open":
        name, _, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            for hearer in hearers:
                hearer.append(str(name))


@contextlib.contextmanager
def watching():
    """Names of the files that are opened to be written in the meantime, by any thread."""
    found: list[str] = []
    hearers.append(found)
    yield found
    hearers.remove(found)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """`watching`, which is known to see what is written."""
    sys.addaudithook(_note)
    path = tmp_path_factory.mktemp("audited") / "written"
    with watching() as found:
        path.write_bytes(b"")
    assert found == [str(path)]
    return watching


@pytest.fixture(scope="module")
def port():
    with running(make_app(held(), LIMITS, Access(), warm=False)) as port:
        yield port


def maps(entry):
    values = np.frombuffer(base64.b64decode(entry["float32"]), "<f4")
    return values.reshape(entry["shape"])


def test_captions_are_those_of_python(port):
    model, content = served(), picture()
    status, answer = post(port, "/caption?name=noise.png", content)
    assert status == 200, answer
    expected = capjax.caption(model.captioner, content, decoding=model.decoding, max_len=5)[0]
    assert answer["file"] == "noise.png"
    assert answer["caption"] == expected.text and answer["caption_tokens"] == [*expected.tokens]
    np.testing.assert_allclose(answer["log_probabilities"], expected.log_probs, atol=1e-5)
    scores = [answer["score"], *(other["score"] for other in answer["alternatives"])]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)


def test_explanations_are_those_of_python(port):
    content = picture(1)
    query = "query=a+man+on+[a+horse]&query=two+dogs+fly&keyword=horse&view=true"
    status, answer = post(port, f"/explain?methods=attention,gradcam&{query}", content)
    assert status == 200, answer
    with pytest.warns(UserWarning, match="has no such word"):
        expected = capjax.explain(
            served().captioner,
            content,
            methods=["attention", "gradcam"],
            query=["a man on [a horse]", "two dogs fly"],
            keyword="horse",
            decoding=served().decoding,
            max_len=5,
            watch=lambda *_: None,
        )
    line = Result.from_json(answer)  # a line of results.jsonl, but for where the maps are
    assert line.queries == ("a man on [a horse]", "two dogs fly")
    assert line.answers[1].lacking and not line.answers[0].lacking
    for place, own in zip([answer, *answer["more"]], expected, strict=True):
        assert place["words"] == list(own.words)
        for name, explanation in own.explanations.items():
            found = place["methods"][name]
            np.testing.assert_allclose(maps(found["maps"]), explanation.maps, atol=1e-6)
            assert found["geometry"] == explanation.geometry.to_json()
    assert maps(answer["methods"]["gradcam"]["phrases"]).shape[0] == 1
    assert maps(answer["methods"]["gradcam"]["targets"]).shape[0] == 1
    view = answer["view"]
    assert view["html"].startswith('<article class="item" data-file="picture"')
    assert {*view["ranges"]} == {"attention", "gradcam"}
    assert view["html"].count('class="sentence"') == 2


def test_progress_comes_as_events_and_nothing_is_written(port, audited):
    # The same question as before but for one word, so that no compiled program is stored.
    query = "query=a+man+on+[a+horse]&query=two+dogs+play&keyword=horse"
    path = f"/explain?methods=attention,gradcam&{query}"
    with audited() as written:
        status, headers, content = asked(
            port, "POST", path, picture(2, (200, 300)), {"Accept": "text/event-stream"}
        )
    assert written == []
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    events = [part.split("\n") for part in content.decode().strip().split("\n\n")]
    kinds = [lines[0].removeprefix("event: ") for lines in events]
    assert kinds == ["progress"] * 4 + ["result"]
    told = [json.loads(lines[1].removeprefix("data: ")) for lines in events]
    assert told[1] == {"method": "attention", "done": 1, "of": 1}
    assert told[-1]["file"] == "picture" and {*told[-1]["methods"]} == {"attention", "gradcam"}


@pytest.mark.filterwarnings("ignore:every .horse. is not explained")
def test_pictures_are_decoded_before_their_turn_and_only_small_ones_are_kept(port, monkeypatch):
    model = served()
    upload = read_upload(picture(3, (900, 1200)), "big", model.captioner.preprocessing, Limits())
    assert upload.picture.original == (900, 1200)
    assert upload.picture.shown.shape == (480, 640, 3) and not hasattr(upload, "content")
    monkeypatch.setattr("capjax.data.pictures.images.opened", None)
    question = Maps(
        "toy",
        ("attention",),
        ("a man on a horse", "two dogs fly"),
        keywords=("horse",),
        viewed=True,
    )
    (answer,) = question.run(held(model), [upload], lambda *_: None)
    assert answer["methods"]["attention"]["geometry"]["original"] == [900, 1200]
    shown = re.search(r"data:image/jpeg;base64,([^\"]+)", answer["view"]["html"])[1]
    assert Image.open(io.BytesIO(base64.b64decode(shown))).size == (640, 480)


def test_numbers_of_sentences_are_filled_up_to_powers_of_two(monkeypatch):
    model, sentences = served(), []

    def explained(captioner, images, *, query, **_):
        sentences.append(query)
        return [*range(len(images) * len(query))]

    monkeypatch.setattr(asking, "explain", explained)
    monkeypatch.setattr(asking, "maps_record", lambda upload, own: {"own": own})
    upload = read_upload(picture(), "small", model.captioner.preprocessing, LIMITS)
    found = Maps("toy", ("attention",), ("a", "b", "c")).run(
        held(model), [upload] * 2, lambda *_: None
    )
    assert sentences == [["a", "b", "c", "c"]]
    assert found == [{"own": [0, 1, 2]}, {"own": [4, 5, 6]}]
    assert len(model.programs.kinds) == 2


def test_programs_do_not_grow_without_end():
    forgotten = []
    programs = Programs(2, lambda: forgotten.append(1))
    for kind in ("a", "b", "a"):
        programs.used(kind)
    assert not forgotten
    programs.used("c")
    assert forgotten == [1] and programs.kinds == {"c"}


def test_photographs_of_cameras_with_a_preview_inside_are_taken(port):
    stream = io.BytesIO()
    first, preview = (Image.new("RGB", size, "red") for size in ((70, 50), (14, 10)))
    first.save(stream, "MPO", save_all=True, append_images=[preview])
    assert Image.open(stream).format == "MPO"
    status, answer = post(port, "/caption", stream.getvalue())
    assert status == 200, answer


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 400, "send the bytes of one picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "SVG"),
        (b"<!DOCTYPE html><html></html>", 415, "a web page"),
        (b"%PDF-1.7 ...", 415, "a document"),
        (b"\xff\xd8\xff\xe0 no more", 415, "no picture"),
        (picture(kind="TIFF"), 415, "of the kind TIFF; expected"),
        (picture()[:-4000], 422, "damaged"),
        (picture(size=(1001, 1000), kind="JPEG")[:150_000], 413, "1000 x 1001 pixels"),
        (MALFORMED["png-70000x70000"], 413, "smaller copy"),
        (b"\0" * 200_001, 413, "more than 200,000 bytes"),
    ],
    ids=["empty", "svg", "html", "pdf", "header", "tiff", "cut", "pixels", "bomb", "bytes"],
)
def test_bad_pictures_are_refused(port, body, status, told):
    found, answer = post(port, "/caption", body)
    assert found == status and told in answer["detail"], answer


def test_malformed_uploads_are_refused_in_words_or_read(port, audited):
    found = {}
    with audited() as written:
        for name, content in MALFORMED.items():
            found[name] = status, answer = post(port, "/caption", content)
            assert status in (200, 400, 413, 415, 422), name
            assert status == 200 or answer["detail"], name
    assert written == [] and len(found) >= 200
    read = {name for name, (status, _) in found.items() if status == 200}
    others = {name for name in found if "-" not in name or name.startswith("kind-")}
    assert len(others) > 15 and not read & others, read
    sized = {name for name in found if re.search(r"\dx\d|-after-", name)} - {"gif-0x0"}
    assert len(sized) > 15 and not read & sized, read
    assert "JPEG-cut-6" not in read and "PNG-cut-6" not in read


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/caption?name=../../etc/passwd", 422, "without a path"),
        ("/caption?name=a%00b", 422, "without a path"),
        ("/explain?methods=magic", 422, "expected names of: attention"),
        ("/explain?methods=ig@steps=100000", 422, "options of methods"),
        ("/explain?methods=attention,gradcam,ig", 422, "up to 2"),
        ("/explain?query=a&query=b&query=c", 422, "up to 2"),
        ("/explain?query=" + "a+" * 200, 422, "longer than 300"),
        ("/explain?query=" + "a+" * 40, 422, "up to 32"),
        ("/explain?query=" + "[a]+" * 20, 422, "40 words"),
        ("/explain?method=gradcam", 422, "method: Extra"),
        ("/caption?names=a", 422, "names: Extra"),
        ("/explain?measure=weight", 422, "measure"),
        ("/explain?methods=rollout", 422, "to roll out"),
        ("/explain?contrast=horse:zebra", 422, "zebra"),
        ("/nothing", 404, "Not Found"),
    ],
)
def test_impossible_questions_are_refused(port, path, status, told):
    found, answer = post(port, path, picture())
    assert found == status and told in answer["detail"], answer


def test_samples_have_names_and_no_paths(port):
    status, headers, content = asked(port, "GET", "/samples/cat.jpg")
    assert status == 200 and headers["content-type"] == "image/jpeg"
    assert content.startswith(b"\xff\xd8")
    assert asked(port, "GET", "/samples/scene-1.png")[2].startswith(b"\x89PNG")
    for trick in ("..%2f..%2fapi.py", "%2e%2e/api.py", "photographs.txt", "cat.jpg%00"):
        assert asked(port, "GET", f"/samples/{trick}")[0] == 404
    kept = samples._file.cache_info().currsize
    assert all(samples.sample(f"stranger-{number}") is None for number in range(9))
    assert samples._file.cache_info().currsize == kept  # strangers fill no memory


def test_other_sites_get_nothing(port):
    status, headers, content = asked(port, "GET", "/model", headers={"Host": "evil.example"})
    assert status == 421 and b"--allow-host" in content
    assert "default-src 'none'" in headers["content-security-policy"]
    for origin, expected in ((f"http://localhost:{port}", 200), ("https://evil.example", 403)):
        assert asked(port, "GET", "/model", headers={"Origin": origin})[0] == expected
    for origin in ("null", "http://[", f"http://localhost:{port}.evil.example"):
        assert asked(port, "GET", "/model", headers={"Origin": origin})[0] == 403
    for host in ("[", "localhost:x"):
        assert asked(port, "GET", "/model", headers={"Host": host})[0] == 421
    assert headers["x-content-type-options"] == "nosniff"


def test_it_says_what_it_is_and_what_it_did(port):
    model = json.loads(asked(port, "GET", "/model")[2])
    assert model["model"] == "toy" and model["limits"]["methods"] == 2
    assert model["methods"][0]["name"] == "attention"
    assert json.loads(asked(port, "GET", "/healthz")[2])["status"] == "ok"
    schema = json.loads(asked(port, "GET", "/openapi.json")[2])
    assert {"/caption", "/explain"} <= {*schema["paths"]}
    assert "requestBody" in schema["paths"]["/caption"]["post"]
    text = asked(port, "GET", "/metrics")[2].decode()
    assert 'capjax_requests_total{route="/healthz",status="200"} 1' in text
    assert 'capjax_requests_total{route="other",status="421"} 3' in text
    for line in text.splitlines():
        assert (
            line.startswith("# ") or len(line.rsplit(" ", 1)) == 2 and float(line.split()[-1]) >= 0
        )


def test_health_is_that_of_the_devices_thread(port, monkeypatch):
    monkeypatch.setattr(Worker, "alive", False)
    status, _, content = asked(port, "GET", "/healthz")
    assert status == 503 and b"has ended" in content


def test_a_slow_body_holds_nobody_up(port):
    with socket.create_connection(("127.0.0.1", port)) as slow:
        head = f"POST /caption HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 5000\r\n\r\n"
        slow.sendall(head.encode() + b"\x89")
        assert post(port, "/caption", picture())[0] == 200
        slow.settimeout(10)
        answer = slow.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408") and b"send it again" in answer
    assert b"\r\nconnection: close\r\n" in answer.lower()


def test_there_is_room_for_some_pictures_and_the_rest_is_not_read():
    limits = dataclasses.replace(LIMITS, waiting=1, batch=1, readers=1, upload_seconds=2.0)
    with (
        running(make_app(held(), limits, Access(), warm=False)) as port,
        contextlib.ExitStack() as stack,
    ):
        head = f"POST /caption HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 5000\r\n\r\n"
        slow = []
        for _ in range(limits.places + 1):
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            slow[-1].sendall(head.encode() + b"\x89")
            slow[-1].settimeout(10)
        refused = slow.pop().recv(4096)  # though it has sent a byte of 5000
        assert refused.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in refused.lower()
        assert b"3 requests are here already" in refused
        assert asked(port, "GET", "/healthz")[0] == 200
        assert all(one.recv(4096).startswith(b"HTTP/1.1 408") for one in slow)
        assert post(port, "/caption", b"")[0] == 400  # there is room again


def test_the_page_holds_together(port):
    """No browser here: what its scripts look for is there, and nothing breaks its own policy."""
    _, headers, page = asked(port, "GET", "/")
    assert headers["content-type"].startswith("text/html")
    script = asked(port, "GET", "/page.js")[2].decode()
    style = asked(port, "GET", "/page.css")[2].decode()
    page = page.decode()
    ids = re.findall(r'\bid="([\w-]+)"', page)
    assert len(ids) == len({*ids}) and {*re.findall(r'byId\("([\w-]+)"\)', script)} <= {*ids}
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style", page)
    assert not re.search(r"https?://|//cdn|\beval\(|new Function", page + script + style)
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["data:,", "/page.css", "/page.js"]
    assert "$" not in re.sub(r"\$\{", "", page)
    assert "toy" not in page  # who may not ask is not told of the model


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_page_sends_names_that_the_server_takes(port):
    script = asked(port, "GET", "/page.js")[2].decode()
    (rule,) = re.findall(r"const plain = (.*);", script)
    names = (
        "Screenshot at 9.41.00\u202fPM.png",
        "写真\u3000一.jpg",
        "a/b\\c:d.png",
        "e\u2028f",
        "\0",
    )
    asks = f"console.log(JSON.stringify({json.dumps(names)}.map((name) => {rule})))"
    found = subprocess.run(["node", "-e", asks], capture_output=True, check=True).stdout
    plain = [check_name(name) for name in json.loads(found)]
    assert plain == ["Screenshot at 9.41.00 PM.png", "写真 一.jpg", "a b c d.png", "e f", "picture"]


@pytest.mark.parametrize("token", ["", "pässword", " s3cret"])
def test_tokens_that_nobody_could_bring_are_wrong_usage(token, capsys):
    assert main([f"--token={token}", "--model=nowhere"]) == 2
    assert "--token" in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_examples_of_the_page_run(port, tmp_path):
    page = (ROOT / "docs" / "serving.md").read_text()
    lines, studies = re.findall(r"```bash\n(curl.*?)```", page, re.DOTALL)
    (tmp_path / "cat.jpg").write_bytes(picture(kind="JPEG"))
    routes = {f"/{name}" for name in re.findall(r"localhost:4200/(\w+)", studies)}
    assert routes <= {*json.loads(asked(port, "GET", "/openapi.json")[2])["paths"]}
    commands = lines.replace("localhost:4200", f"localhost:{port}").strip().splitlines()
    run = {"shell": True, "cwd": tmp_path, "capture_output": True, "check": True}
    found = [subprocess.run(command, **run).stdout.decode() for command in commands]
    caption, contrast, streamed = found
    assert json.loads(caption)["alternatives"]
    answer = json.loads(contrast)
    assert answer["words"] == ["two", "dogs", "play"]
    assert answer["targets"][0]["label"] == "dogs rather than horse"
    assert [*answer["methods"]] == ["gradcam"]
    assert streamed.count("event: progress") == 2 and streamed.count("event: result") == 1


def test_a_token_is_asked_for_everywhere():
    with running(make_app(held(), LIMITS, Access(token="s3cret"), warm=False)) as port:
        assert asked(port, "GET", "/healthz")[0] == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "capjax_session=x"}):
            status, told, _ = asked(port, "GET", "/model", headers=headers)
            assert status == 401 and told["www-authenticate"] == "Bearer"
        assert asked(port, "GET", "/model?token=s3cret")[0] == 401
        bearer = {"Authorization": "Bearer s3cret"}
        assert asked(port, "GET", "/model", headers=bearer)[0] == 200
        _, told, _ = asked(port, "POST", "/session", headers=bearer)
        kept = told["set-cookie"]
        assert "HttpOnly" in kept and "SameSite=Strict" in kept and "s3cret" not in kept
        assert f"_{port}=" in kept  # a server at another port has another cookie
        own = {"Cookie": f"o(th)er=1; a b; {kept.partition(';')[0]}"}
        assert asked(port, "GET", "/model", headers=own)[0] == 200
