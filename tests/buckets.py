"""A bucket of an S3 server that runs here (moto), as s3fs sees it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")
pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A file system that knows nothing but what the environment says, as a user's; with `bucket`.

    The server's threads and sockets end with the process, which warns of them.
    """
    server = moto.ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    system = fsspec.filesystem("s3")
    system.makedirs("bucket", exist_ok=True)
    yield system
    system.rm("bucket", recursive=True)  # it would outlive its server
    server.stop()
    type(system).clear_instance_cache()
