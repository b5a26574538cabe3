"""What the compiler says of memory, and the search for the largest batch that fits."""

import math

import jax
import jax.numpy as jnp
import pytest

from capjax.runtime import memory
from capjax.runtime.memory import (
    AUTO,
    GIGABYTE,
    Memory,
    TooLargeError,
    device_memory,
    fit_batch,
    largest_fitting,
    longest_needed,
    needed,
)

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def test_needed_counts_arguments_results_and_what_lies_between():
    square = jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    own = 4 * 1000 * 1000
    twice = needed(jax.jit(lambda x: (x @ x) @ x).lower(square))
    assert twice == pytest.approx(3 * own, rel=0.01)  # x, x @ x and the result
    donated = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    assert needed(donated.lower(square)) == pytest.approx(own, rel=0.01)


def counted(need):
    asked = []

    def own(size):
        asked.append(size)
        return need(size)

    return own, asked


@pytest.mark.parametrize("usable", [10.0, 11.9, 60.0, 133.0, 1000.0, 2569.0, 2570.0, 1e6])
@pytest.mark.parametrize(
    "need",
    [
        lambda size: 10.0 * size + 10.0 if size > 1 else 10.0,
        lambda size: min(12.0 * size, 600.0) + size,  # a budget bounds what lies between
    ],
    ids=["affine", "concave"],
)
def test_largest_fitting_is_found_with_few_programs(need, usable):
    own, asked = counted(need)
    found = largest_fitting(SIZES, own, usable)
    fitting = [size for size in SIZES if need(size) <= usable]
    if not fitting:
        assert found.size is None and found.bytes == need(1)
        return
    assert found.size is not None and found.bytes == need(found.size) <= usable
    assert len(set(asked)) == len(asked) <= 5
    assert found.size == fitting[-1]
    if found.size != SIZES[-1]:
        assert found.over is not None and need(found.over[0]) == found.over[1] > usable


def test_one_program_is_compiled_where_the_largest_fits_and_three_where_memory_is_affine():
    own, asked = counted(lambda size: 100.0 + 10.0 * size)
    assert largest_fitting(SIZES, own, 1e9).size == 256 and asked == [256]
    asked.clear()
    assert largest_fitting(SIZES, own, 500.0).size == 32 and asked == [256, 1, 32]


def test_a_size_that_the_compiler_refuses_counts_as_too_large():
    own, asked = counted(lambda size: 10.0 * size if size < 32 else math.inf)
    assert largest_fitting(SIZES, own, 1000.0).size == 16
    assert len(asked) <= 6


def test_the_longest_sentences_are_compiled_near_the_limit_only():
    own, asked = counted(lambda _: 30.0)
    assert longest_needed(10.0, 4.0, lambda: own(0), usable=40.0) == 10.0 and not asked
    assert longest_needed(10.0, 4.0, lambda: own(0), usable=39.0) == 30.0 and asked == [0]


def test_a_fixed_batch_that_does_not_fit_is_refused_with_what_to_do():
    there = Memory(2.0 * GIGABYTE, "free on this machine", 1.8 * GIGABYTE)
    told = []
    rest = {"memory": there, "noun": "clip", "tell": told.append}
    assert fit_batch(7, 100, lambda size: 0.28 * GIGABYTE * size, **rest) == 7  # all of it
    with pytest.raises(
        TooLargeError, match=r"8 clips at once need 2\.2 of 2\.0 GB \(free"
    ) as error:
        fit_batch(8, 100, lambda size: 0.28 * GIGABYTE * size, **rest)
    assert "--batch-size=auto" in str(error.value) and "--memory=GB" in str(error.value)
    assert not told


def test_auto_says_what_it_chose_and_why():
    there = Memory(2.0 * GIGABYTE, "free on this machine", 1.8 * GIGABYTE)
    told = []
    rest = {"memory": there, "noun": "image", "tell": told.append}
    assert fit_batch(AUTO, 1000, lambda size: 0.1 * GIGABYTE * size, **rest) == 16
    assert told == [
        "16 images at once: 1.6 of 2.0 GB (free on this machine) by the compiler's account; "
        "32 would need 3.2 GB"
    ]
    assert fit_batch(AUTO, 5, lambda size: 0.1 * GIGABYTE * size, **rest) == 8  # no more are there
    with pytest.raises(TooLargeError, match="even 1 image at once would need 3.0 of 2.0 GB"):
        fit_batch(AUTO, 5, lambda size: 3.0 * GIGABYTE * size, **rest)


def test_a_compiler_without_an_account_leaves_a_fixed_batch_alone_and_refuses_auto():
    class Silent:
        def compile(self):
            return self

        def memory_analysis(self):
            return None

    rest = {"memory": device_memory(1.0), "noun": "image", "tell": print}
    assert fit_batch(64, 100, lambda _: needed(Silent()), **rest) == 64
    with pytest.raises(memory.NoAccountError, match="gives no account of memory"):
        fit_batch(AUTO, 100, lambda _: needed(Silent()), **rest)


def test_a_processor_has_what_the_machine_has_free(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemFree: 100 kB\nMemAvailable: 4000000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_free_in_container", lambda: [])
    found = device_memory()
    assert found.size == 4_096_000_000 / jax.local_device_count()
    assert found.usable < found.size and "free on this machine" in found.source
    monkeypatch.setattr(memory, "_free_in_container", lambda: [1_000_000])
    assert device_memory().size == 1_000_000 / jax.local_device_count()
    assert device_memory(5e9) == Memory(5e9, "the limit given", 5e9)


def test_a_container_may_have_less(tmp_path):
    assert memory._free_in_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")
    assert memory._free_in_container(tmp_path) == []
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory._free_in_container(tmp_path) == [2000]
