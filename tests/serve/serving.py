"""A real server of a toy captioner in a thread, and requests as any client sends them."""

import contextlib
import dataclasses
import http.client
import io
import json
import threading
import time

import numpy as np
from PIL import Image

from capjax.captioner import Captioner, build_net
from capjax.decoders import S2VT
from capjax.encoders import ConvNet
from tests.explainers.toys import PREPROCESSING, TEXT, attentive, randomised

ORIGIN_HOST = "localhost"


def served(name="toy", seed=0, **changes):
    """The toy captioner, as it is served."""
    from capjax.decoding import Beam
    from capjax.serve.asking.served import Served

    given = {"decoding": Beam(2), "max_len": 5, "doubt": False, "batch": 2, **changes}
    return Served(name, given.pop("captioner", None) or attentive(seed), **given)


def of_clips(frames=3):
    """A random captioner of clips."""
    preprocessing = dataclasses.replace(PREPROCESSING, size=(32, 32), frames=frames)
    decoder = S2VT(TEXT.size, 24, hidden=16, embedding=10, scan="frames")
    net = build_net(ConvNet(widths=(8, 24), residuals=(0, 0)), decoder, preprocessing)
    return Captioner(net, randomised(net, preprocessing), TEXT, preprocessing)


def animated(frames=8, size=(48, 36), kind="GIF"):
    """The file of a square that moves."""
    pictures = []
    for number in range(frames):
        pixels = np.full((size[1], size[0], 3), 30, np.uint8)
        pixels[8:20, 2 * number % 30 : 2 * number % 30 + 12] = (250, 200, 40)
        pictures.append(Image.fromarray(pixels))
    stream = io.BytesIO()
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:], duration=100)
    return stream.getvalue()


def held(*models):
    """Captioners by name, as a server holds them: the toy unless others are given."""
    return {model.name: model for model in models or (served(),)}


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
