"""Whatever the description of the API allows, and much that it does not, is answered in words."""

import contextlib

import pytest

from tests.serve.serving import held, picture, running, served

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
schemathesis = pytest.importorskip("schemathesis", reason="the extra `browser` is not installed")

from capjax.serve.app import make_app  # noqa: E402
from capjax.serve.guard import Access  # noqa: E402
from capjax.serve.limits import Limits  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of schemathesis itself
]
EXAMPLES = 30
"""Requests a route and a kind."""


def statuses(operation, kind):
    """Of requests of one kind to one route; none fails the server or is refused without words.

    There are none where nothing can be wrong with a request: a route without parameters.
    """
    import hypothesis
    from hypothesis import strategies

    found = set()

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=kind), known=strategies.booleans())
    def send(case, known):
        if known and case.method == "POST":
            case.body = picture(size=(20, 24))
        response = case.call(timeout=120)
        assert response.status_code < 500 or response.status_code == 503, response.text
        assert response.status_code < 400 or response.json()["detail"]
        found.add(response.status_code)

    with contextlib.suppress(hypothesis.errors.Unsatisfiable):
        send()
    return found


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_request_fails_the_server(mode):
    kind = schemathesis.GenerationMode[mode]
    app = make_app(held(served(seed=5)), Limits(), Access(), warm=False)
    with running(app) as port:
        schema = schemathesis.openapi.from_url(f"http://localhost:{port}/openapi.json")
        operations = [found.ok() for found in schema.get_all_operations()]
        answered = {own.label: statuses(own, kind) for own in operations}
    assert {"POST /caption", "POST /explain", "POST /adversarial"} <= {*answered}
    assert len(answered) >= 9 and (mode == "NEGATIVE" or all(answered.values())), answered
    for route in ("POST /caption", "POST /explain"):
        assert (200 if mode == "POSITIVE" else 422) in answered[route], answered
