"""Batches a step apart: in which order a device is asked, and what comes back."""

import contextlib
import math

import jax
import pytest

from capjax.folder.pipeline.in_flight import InFlight
from capjax.ops.devices import at_one_go, finished


class Recorded:
    """A device that notes what it is asked and what is waited for; images are numbers."""

    def __init__(self, room=math.inf, never=()):
        self.room, self.never = room, never
        self.asked, self.turns, self.halved = [], [], []
        self.under_way = self.most = 0

    def start(self, images, size):
        name = f"{images[0]}"
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.asked.append(f"see {name}")
        yield
        self.asked.append(f"explain {name}")
        if len(images) > self.room or {*images} & {*self.never}:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        yield
        self.asked.append(f"fetch {name}")
        self.under_way -= 1
        return [[image * image] for image in images]

    @contextlib.contextmanager
    def turn(self, number):
        self.turns.append(number)
        yield


def explained(count, size, **refusing):
    """(what came back, after how many images each came, the device)."""
    device = Recorded(**refusing)
    halved = lambda *sizes: device.halved.append(sizes)  # noqa: E731
    flight = InFlight(size, device.start, device.turn, halved)
    found, when = [], []
    for image in range(count):
        for own in flight.take(image):
            found.append(own)
            when.append(image)
    found += flight.rest()
    return found, when, device


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize("size", [1, 3])
def test_each_image_comes_back_once_in_order(count, size):
    found, _, device = explained(count, size)
    assert found == [(image, [image * image]) for image in range(count)]
    batches = -(-count // size)
    assert device.turns == [*range(1, batches + 3)][: len(device.turns)]
    assert len(device.turns) == (batches + 2 if batches else 0)


def test_the_device_has_work_whenever_something_is_waited_for():
    _, when, device = explained(5, 1)
    assert device.asked == [
        *("see 0", "see 1", "explain 0"),
        *("see 2", "explain 1", "fetch 0"),
        *("see 3", "explain 2", "fetch 1"),
        *("see 4", "explain 3", "fetch 2"),
        *("explain 4", "fetch 3", "fetch 4"),
    ]
    assert device.most == 3 and when == [2, 3, 4]


def test_steps_at_one_go_are_those_one_by_one():
    device = Recorded()
    assert finished(device.start([2, 3], 2)) == [[4], [9]]
    assert at_one_go(device.start)([2], 1) == [[4]]
    assert device.asked == ["see 2", "explain 2", "fetch 2"] * 2


@pytest.mark.parametrize("count", [1, 5, 8, 17, 40])
@pytest.mark.parametrize(("room", "sizes"), [(4, [(8, 4)]), (3, [(8, 4), (4, 2)]), (8, [])])
def test_batches_are_halved_until_they_fit_and_stay_so(count, room, sizes):
    found, _, device = explained(count, 8, room=room)
    assert found == [(image, [image * image]) for image in range(count)]
    assert device.halved == (sizes if count > room else [])
    fetched = [int(line.split()[1]) for line in device.asked if line.startswith("fetch")]
    assert sorted({*fetched}) == fetched  # nothing that was found is found again


@pytest.mark.parametrize("size", [1, 4])
def test_an_image_too_large_alone_is_given_back_and_the_rest_explained(size):
    found, _, device = explained(9, size, never=(3, 8))
    assert found == [(image, None if image in (3, 8) else [image * image]) for image in range(9)]
    assert device.halved == ([(4, 2), (2, 1)] if size == 4 else [])


def test_other_failures_end_the_run():
    def failing(images, size):
        yield
        raise jax.errors.JaxRuntimeError("INTERNAL: no")

    flight = InFlight(1, failing, Recorded().turn, print)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        [*flight.take(0), *flight.rest()]
