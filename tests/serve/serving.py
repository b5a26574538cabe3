"""A real server of a toy captioner in a thread, and requests as any client sends them."""

import contextlib
import http.client
import io
import json
import threading
import time

import numpy as np
from PIL import Image

from tests.explainers.toys import attentive

ORIGIN_HOST = "localhost"


def served(**changes):
    """The toy captioner, as it is served."""
    from capjax.decoding import Beam
    from capjax.serve.asking import Served

    given = {"decoding": Beam(2), "max_len": 5, "doubt": False, "batch": 2, **changes}
    return Served("toy", attentive(), **given)


@contextlib.contextmanager
def running(app):
    """The port of a server that runs `app`."""
    import uvicorn

    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def asked(port, method, path, body=None, headers=()):
    """(status, headers, content) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    given = {"Host": f"{ORIGIN_HOST}:{port}", **dict(headers)}
    connection.request(method, path, body, given)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, content


def post(port, path, body, **headers):
    """(status, answer) of a picture that is sent."""
    status, _, content = asked(port, "POST", path, body, headers)
    return status, json.loads(content)


def picture(seed=0, size=(50, 70), kind="PNG"):
    """The file of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()
