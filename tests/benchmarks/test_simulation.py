"""The simulated queue against closed forms: what sets the pace, what a restart costs."""

import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from accelerator.simulation import Fleet, Line, Outcome, simulate, simulate_fleet  # noqa: E402

BALANCED = Line(
    batch=16, read=0.01, readers=2, device=0.1, feed=0.02, write=0.01, writers=2, in_flight=2
)


def seconds(line, images, **named):
    return simulate(line, images, **named)[-1]


@pytest.mark.parametrize(
    ("slow", "an_image"),
    [
        ({"read": 0.5}, 0.5 / 2),
        ({"device": 3.2}, 3.2 / 16),
        ({"feed": 3.2}, 3.2 / 16),
        ({"write": 0.5}, 0.5 / 2),
    ],
)
def test_the_slowest_stage_alone_sets_the_pace(slow, an_image):
    line = dataclasses.replace(BALANCED, **slow)
    stage = min(line.limits(), key=line.limits().get)
    assert stage in slow and line.limits()[stage] == pytest.approx(1 / an_image)
    # Of a long run all but its first and last batches.
    assert seconds(line, 3200) - seconds(line, 1600) == pytest.approx(1600 * an_image)
    begun = seconds(line, 1600) - 1600 * an_image
    assert 0 <= begun <= 2 * (16 * 0.01 / 2 + 0.1 + 0.02)


def test_a_batch_alone_passes_all_stages_one_after_the_other():
    # 16 images on two cores, twice eight rounds; nothing overlaps.
    assert seconds(BALANCED, 16) == pytest.approx(8 * 0.01 + 0.1 + 0.02 + 8 * 0.01)
    assert simulate(BALANCED, 0) == []


def test_without_a_queue_everything_is_added_up():
    # One image at a time through one server each: the thread waits for the device, then takes in;
    # reading is two ahead, and a single place for writing is taken up while the next is explained.
    line = Line(batch=1, read=0.0, readers=1, device=3, feed=1, write=0.0, writers=1, in_flight=1)
    assert seconds(line, 10) == pytest.approx(10 * (3 + 1))
    assert line.limits() == {"device": 1 / 4}
    # Two in flight: the device works while the thread takes in, and never waits.
    assert seconds(dataclasses.replace(line, in_flight=2), 10) == pytest.approx(10 * 3 + 1)


def test_one_place_for_writing_holds_the_thread_back():
    line = Line(batch=1, read=0.0, readers=1, device=1, feed=0, write=5, writers=9, in_flight=1)
    # Nine could write at once, and the queue has room for one image: each waits for the one before.
    assert seconds(line, 10) == pytest.approx(1 + 10 * 5)


def test_time_is_linear_in_images_and_the_same_with_the_same_seed():
    spread = {"spread": 0.5, "seed": 3}
    found = [seconds(BALANCED, images, **spread) for images in (1600, 3200, 4800)]
    assert found[2] - found[1] == pytest.approx(found[1] - found[0], rel=0.02)
    assert found[0] == seconds(BALANCED, 1600, **spread)
    assert found[0] != seconds(BALANCED, 1600, spread=0.5, seed=4)
    ends = simulate(BALANCED, 1600, **spread)
    assert ends == sorted(ends) and len(ends) == 1600


LINE = Line(batch=10, read=0, readers=1, device=1, feed=0, write=0, writers=1, in_flight=2)
"""Ten images a second and nothing else."""


def test_parts_are_shared_evenly_and_the_last_ones_decide():
    fleet = Fleet(LINE, workers=4, part=100)
    assert simulate_fleet(fleet, 4000) == Outcome(pytest.approx(100), 0, 0)
    # 41 parts: one process has one more.
    assert simulate_fleet(fleet, 4100).seconds == pytest.approx(110)
    assert simulate_fleet(fleet, 4050).seconds == pytest.approx(105)
    started = dataclasses.replace(fleet, ready=7.0, closing=2.0)
    assert simulate_fleet(started, 4000).seconds == pytest.approx(7 + 100 + 2)
    # Closing takes longer than a part: it sets the pace.
    slow = dataclasses.replace(fleet, closing=30.0)
    assert simulate_fleet(slow, 4000).seconds == pytest.approx(10 + 10 * 30)


def test_one_process_that_records_for_all_bounds_them():
    fleet = Fleet(LINE, workers=64, part=100, recording=0.01)
    assert simulate_fleet(fleet, 64_000).seconds == pytest.approx(64_000 * 0.01, rel=0.02)


def test_a_restart_costs_at_most_a_part_and_the_time_to_be_ready():
    fleet = Fleet(LINE, workers=1, part=100, ready=5.0, failures=20.0)
    calm = simulate_fleet(dataclasses.replace(fleet, failures=0.0), 20_000)
    found = [simulate_fleet(fleet, 20_000, seed=seed) for seed in range(40)]
    for one in found:
        assert one.again == one.restarts
        lost = one.seconds - calm.seconds
        assert 5.0 * one.restarts <= lost <= (5.0 + 10.0) * one.restarts + 1e-6
    # As many as the rate says: 20 an hour over all these hours.
    hours = sum(one.seconds for one in found) / 3600
    count = sum(one.restarts for one in found)
    assert count == pytest.approx(20 * hours, abs=4 * (20 * hours) ** 0.5)
    assert found[0] == simulate_fleet(fleet, 20_000, seed=0)


def test_a_file_that_is_being_closed_is_lost_with_its_process():
    fleet = Fleet(LINE, workers=3, part=100, ready=5.0, closing=8.0, failures=20.0)
    calm = simulate_fleet(dataclasses.replace(fleet, failures=0.0), 20_000)
    for seed in range(20):
        found = simulate_fleet(fleet, 20_000, seed=seed)
        assert found.restarts <= found.again <= 2 * found.restarts
        assert found.seconds >= calm.seconds


def test_processes_that_would_never_finish_a_part_are_refused():
    with pytest.raises(ValueError, match="give smaller parts"):
        simulate_fleet(Fleet(LINE, workers=1, part=10_000, failures=20.0), 20_000)
