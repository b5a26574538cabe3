"""The order of samples: every one once an epoch, from (seed, step) alone."""

import collections

import numpy as np
import pytest

from capjax.data.batches.order import SampleOrder


def stream(order, steps):
    return np.concatenate([order.batch(step) for step in range(steps)])


@pytest.mark.parametrize(("count", "batch_size"), [(10, 3), (12, 4), (3, 8), (1, 2), (101, 7)])
def test_every_sample_comes_once_an_epoch(count, batch_size):
    order = SampleOrder(count=count, batch_size=batch_size, seed=3)
    epochs = 4
    samples = stream(order, -(-epochs * count // batch_size))[: epochs * count]
    for epoch in samples.reshape(epochs, count):
        assert sorted(epoch) == list(range(count))


def test_epochs_and_seeds_differ():
    order = SampleOrder(count=100, batch_size=10, seed=0)
    first, second = stream(order, 20).reshape(2, 100)
    assert (first != second).any() and (first != np.arange(100)).any()
    other = SampleOrder(count=100, batch_size=10, seed=1)
    assert (stream(other, 10) != first).any()
    for seed in (-1, 2**63, 2**64 - 1):
        assert sorted(stream(SampleOrder(count=5, batch_size=5, seed=seed), 1)) == [0, 1, 2, 3, 4]


def test_batches_do_not_depend_on_what_was_asked_before():
    asked = SampleOrder(count=50, batch_size=8, seed=5)
    in_order = [asked.batch(step) for step in range(40)]
    for step in (39, 0, 17, 6, 7):
        np.testing.assert_array_equal(
            SampleOrder(count=50, batch_size=8, seed=5).batch(step), in_order[step]
        )


def test_batch_size_only_cuts_the_same_stream():
    small = stream(SampleOrder(count=50, batch_size=5, seed=5), 40)
    large = stream(SampleOrder(count=50, batch_size=20, seed=5), 10)
    np.testing.assert_array_equal(small, large)


def test_order_is_frozen_in_time():
    """A resumed run must find the order it was started with, so it may never change.

    These are sorted splitmix64 hashes, computed here in plain integers.
    """
    mask, golden = 2**64 - 1, 0x9E3779B97F4A7C15

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    for seed, epoch in ((0, 0), (7, 3), (-5, 1)):
        base = mix((mix(((seed & mask) + golden) & mask) + epoch * golden) & mask)
        keys = [mix((base + (i + 1) * golden) & mask) for i in range(20)]
        expected = sorted(range(20), key=keys.__getitem__)
        order = SampleOrder(count=20, batch_size=20, seed=seed)
        assert order.batch(epoch).tolist() == expected


def test_positions_are_uniform():
    """Where sample 0 lands over 4,000 epochs: chi-squared of 10 cells below the 99.99 % point."""
    order = SampleOrder(count=10, batch_size=10, seed=11)
    places = [int(np.flatnonzero(order.batch(epoch) == 0)[0]) for epoch in range(4000)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 400) ** 2 / 400).sum() < 33.7


def grouped(count=1000, batch_size=16, seed=2):
    lengths = np.random.default_rng(0).integers(5, 15, count)
    return lengths, SampleOrder(count=count, batch_size=batch_size, seed=seed, lengths=lengths)


def test_grouped_batches_hold_one_length_but_at_boundaries():
    lengths, order = grouped()
    mixed = 0
    for step in range(order.window):
        own = np.unique(lengths[order.batch(step)])
        mixed += len(own) > 1
        assert len(own) <= 2
    assert mixed <= 9  # ten lengths have nine boundaries
    first = [int(lengths[order.batch(step)[0]]) for step in range(20)]
    assert first != sorted(first)


def test_grouping_keeps_every_sample_of_the_stream():
    lengths, order = grouped(count=100, batch_size=7)
    plain = SampleOrder(count=100, batch_size=7, seed=2)
    per_window = order.window * 7
    together, apart = stream(order, 3 * order.window), stream(plain, 3 * order.window)
    for window in range(3):
        part = slice(window * per_window, (window + 1) * per_window)
        assert collections.Counter(together[part]) == collections.Counter(apart[part])
    again = SampleOrder(count=100, batch_size=7, seed=2, lengths=lengths)
    np.testing.assert_array_equal(again.batch(31), order.batch(31))


def test_nothing_to_shuffle_is_an_error():
    with pytest.raises(ValueError, match="got 0 samples in batches of 4"):
        SampleOrder(count=0, batch_size=4, seed=0)
