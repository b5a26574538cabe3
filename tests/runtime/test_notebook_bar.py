"""The bar of a notebook: how far it goes, that maps do not depend on it, and that it is gone."""

import sys
import types

import numpy as np
import pytest

import capjax
from capjax.explainers.perturbation.copies import AT_ONCE
from capjax.runtime.notebook_bar import NotebookBar, in_notebook
from tests.api.conftest import photograph
from tests.explainers.toys import attentive


class Bar:
    """Stands for tqdm's: notes each place with its text."""

    made: list["Bar"] = []

    def __init__(self, *, total, desc, leave, **_):
        self.total, self.text, self.n, self.closed = total, desc, 0.0, False
        self.places = []
        assert not leave
        self.made.append(self)

    def set_description(self, text, refresh):
        self.text = text

    def update(self, more):
        self.n += more
        self.places.append((self.text, round(self.n, 6)))

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    """A notebook's kernel as this process sees it, and the bars that it shows."""
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    monkeypatch.setattr(Bar, "made", [])
    return Bar.made


def test_the_bar_counts_steps_of_items(bars):
    with NotebookBar(["one", "two"], items=6) as bar:
        bar.reached("one", 1, 2, items=4)
        bar.reached("two", 3, 4, items=4)
        bar.finished(4)
        bar.finished(2)
    (shown,) = bars
    assert shown.places == [("one", 1.0), ("two", 3.5), ("two", 4.0), ("two", 6.0)]
    assert shown.total == 6 and shown.closed


def test_elsewhere_there_is_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook() and not NotebookBar(["one"], items=1).shown
    terminal = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(config={}))
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not in_notebook()


def test_explain_moves_it_part_by_part_and_finds_the_same(bars, monkeypatch):
    captioner = attentive()
    images = [photograph(seed, 40, 50) for seed in range(4)]
    asked = {
        "methods": ["attention", "leave_one_out"],
        "batch_size": 2,
        "visual_information": False,
    }
    asked["query"] = "a red dog"
    watched = capjax.explain(captioner, images, **asked)
    (shown,) = bars
    places = [place for _, place in shown.places]
    assert places == sorted(places) and places[-1] == shown.total == 4 and shown.closed
    # Of a batch of two images each method is half, and the parts of the second divide its half.
    parts = -(-64 // AT_ONCE)  # of the 8x8 positions
    assert parts > 1 and {1 + part / parts for part in range(parts + 1)} <= set(places)
    monkeypatch.delitem(sys.modules, "IPython")
    alone = capjax.explain(captioner, images, **asked)
    for one, other in zip(watched, alone, strict=True):
        assert one.caption.text == other.caption.text
        for name in one.explanations:
            span = np.ptp(other[name].maps)
            np.testing.assert_allclose(one[name].maps, other[name].maps, atol=1e-5 * span, rtol=0)
