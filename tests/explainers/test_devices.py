"""One device and eight say the same of the same images, and exchange nothing."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

import capjax
from capjax.api import caption
from capjax.decoding import Beam
from capjax.explainers import programs
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.wording import Wording, pad_sentences
from capjax.ops import devices
from tests.explainers.toys import attentive
from tests.test_own_method_and_study import Patches

FEW = ("attention", "ig@steps=2", Patches(side=32))  # at once, in parts; features, pixels
METHODS = (*FEW, "gradcam", "caption_guided")
QUERY = "a man on a horse"
EXCHANGES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")


@pytest.fixture(scope="module")
def captioner():
    return attentive()


def pictures(count, captioner):
    size = (*captioner.preprocessing.size, 3)
    return np.random.default_rng(0).integers(0, 256, (count, *size)).astype(np.uint8)


@pytest.fixture
def alone(monkeypatch):
    """Takes all devices but one away from what is called inside."""

    def call(function):
        with monkeypatch.context() as here:
            here.setattr(devices, "local_mesh", lambda: jax.make_mesh((1,), (devices.AXIS,)))
            return function()

    return call


@pytest.mark.devices
@pytest.mark.parametrize(
    ("count", "methods", "watched"),
    [
        (11, METHODS, False),
        (2, FEW, True),
        (1, FEW, False),
    ],
)
def test_eight_devices_explain_as_one(captioner, alone, count, methods, watched):
    assert jax.device_count() == 8
    images, seen = pictures(count, captioner), []

    def explain():
        return explain_batch(
            captioner,
            images,
            [(64, 64)] * count,
            methods=check_methods(captioner, methods),
            decoding=Beam(2),
            max_len=12,
            queries=[[Wording.of_query(captioner, QUERY)]] * count,
            watch=(lambda *told: seen.append(told)) if watched else None,
        )

    one, eight = alone(explain), explain()
    assert len(one) == len(eight) == count and bool(seen) == watched
    for (ours,), (theirs,) in zip(eight, one, strict=True):
        assert ours.caption.tokens == theirs.caption.tokens
        np.testing.assert_allclose(ours.log_probs, theirs.log_probs, atol=1e-5)
        assert ours.explanations.keys() == theirs.explanations.keys()
        # A map may be a difference of log-probabilities, and carries the rounding of both.
        size = float(np.abs(theirs.log_probs).max())
        for label, found in ours.explanations.items():
            expected = theirs.explanations[label].maps
            tolerance = 1e-6 * max(1.0, size, float(np.ptp(expected)))
            np.testing.assert_allclose(found.maps, expected, rtol=1e-5, atol=tolerance)


@pytest.mark.devices
def test_captions_of_a_batch_that_does_not_divide(alone):
    captioner = capjax.load("scenes-soft")
    call = functools.partial(
        caption, captioner, pictures(5, captioner), decoding=Beam(2), batch_size=5
    )
    eight = [found.text for found in call()]
    assert all(eight) and eight == [found.text for found in alone(call)]


@pytest.mark.devices
def test_devices_exchange_nothing(captioner):
    images, mesh = pictures(8, captioner), devices.mesh_of(8)
    net = captioner.net
    features = capjax.decoding.captions.see(net, captioner.placed(mesh), images, mesh=mesh)
    sentence = Wording.of_query(captioner, QUERY)
    asked = programs.Asked(
        features, *pad_sentences([[sentence]] * 8)[:3], images, np.zeros(8, np.uint32)
    )
    named = [one for one in METHODS if isinstance(one, str)]
    chosen = tuple(one.method for one in check_methods(captioner, named))
    text = (
        programs.explain_targets.lower(net, chosen, captioner.placed(mesh), asked, mesh)
        .compile()
        .as_text()
    )
    assert not [name for name in EXCHANGES if name in text]
    assert {len(shard.data) for shard in features.positions.addressable_shards} == {1}


def test_where_a_batch_goes(monkeypatch):
    three = dataclasses.make_dataclass("Mesh", [("size", int)])(3)
    monkeypatch.setattr(devices, "local_mesh", lambda: three)
    assert devices.mesh_of(1) is None and devices.mesh_of(2) is three
    batch = np.arange(4)
    assert devices.pad_rows(batch, three).tolist() == [0, 1, 2, 3, 3, 3]
    assert devices.pad_rows(batch, None) is batch
    assert devices.pad_rows(batch, None, 5).tolist() == [0, 1, 2, 3, 3]
    assert len(devices.pad_rows(batch, three, 7)) == 9
    monkeypatch.setattr(devices, "local_mesh", lambda: dataclasses.replace(three, size=1))
    assert devices.mesh_of(64) is None
