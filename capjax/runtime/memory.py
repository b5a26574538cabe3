"""Whether a program fits into a device's memory, by the compiler's own account.

Memory of a program: its arguments (weights too), its results and its intermediate results. The
compiler knows all three before anything runs. What is compiled here is what runs later: `jax.jit`
finds it in its cache, where it is called with arguments of the same shapes.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax

from capjax.runtime.files import counted

GIGABYTE = 10**9
AUTO: Literal["auto"] = "auto"

SHARE = 0.9
"""Of the memory found on a machine, what a chosen batch may fill: the rest is left to images that
are read ahead and to gaps between buffers. A limit that somebody sets is filled whole."""

MOST = 256
"""Images of one device at once that are worth their memory."""
MOST_OF_PROCESSOR = 32
"""The same for a processor, which is no faster with more."""

_MEMINFO = pathlib.Path("/proc/meminfo")


class TooLargeError(ValueError):
    """A batch does not fit into memory; the text says what it needs and what to do."""


class NoAccountError(ValueError):
    """The compiler of this platform does not say how much memory a program takes."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Memory of one device for the programs of a command.

    Attributes:
      size: bytes that there are.
      source: where the number is from, to be read after it.
      usable: bytes that a batch may be chosen to fill.
    """

    size: float
    source: str
    usable: float


def device_memory(limit: float | None = None) -> Memory:
    """Memory of one of this process's devices.

    Args:
      limit: bytes to take for it; None: what the device's allocator may give out or, where it does
        not say (a processor), an equal share of what the machine has free.

    Raises:
      ValueError: neither the device nor the system says what it has.
    """
    if limit is not None:
        return Memory(limit, "the limit given", limit)
    device = jax.local_devices()[0]
    size = (device.memory_stats() or {}).get("bytes_limit")
    if size is not None:
        return Memory(size, f"on each {device.device_kind}", SHARE * size)
    free = _free_on_machine()
    if free is None:
        raise ValueError(
            "this system does not say how much memory is free; say it with --memory=GB"
        )
    share = free / jax.local_device_count()
    return Memory(share, "free on this machine", SHARE * share)


def _free_on_machine() -> int | None:
    """Bytes that can be had without swapping, within the container's limit; None where unknown."""
    if _MEMINFO.is_file():
        lines = (line.split() for line in _MEMINFO.read_text().splitlines())
        free = {words[0]: int(words[1]) * 1024 for words in lines if len(words) > 1}
        found = free.get("MemAvailable:", free.get("MemFree:", 0))
        return min(found, *_free_in_container(), found)
    if "SC_PHYS_PAGES" in os.sysconf_names:  # macOS: what it has, which is what it gives
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _free_in_container(folder: pathlib.Path = pathlib.Path("/sys/fs/cgroup")) -> list[int]:
    """What the container that this process runs in may still take; empty where it has no limit."""
    for most, used in (
        (folder / "memory.max", folder / "memory.current"),
        (folder / "memory/memory.limit_in_bytes", folder / "memory/memory.usage_in_bytes"),
    ):
        if most.is_file() and used.is_file() and most.read_text().strip() != "max":
            return [max(0, int(most.read_text()) - int(used.read_text()))]
    return []


def needed(lowered: Any) -> float:
    """Bytes of one device that a program takes; infinite where its compiler gave up for want of it.

    Args:
      lowered: from `jax.jit(…).lower`; compiled here.

    Raises:
      NoAccountError: this compiler does not say.
    """
    try:
        found = lowered.compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if not is_exhausted(error):
            raise
        return math.inf
    if found is None:
        raise NoAccountError(
            f"the compiler for {jax.default_backend()} gives no account of memory; set a number in "
            "place of auto"
        )
    own = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
    return float(own - found.alias_size_in_bytes)


def is_exhausted(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether a device, or a compiler, had too little memory for what was asked."""
    return "RESOURCE_EXHAUSTED" in str(error)


def longest_needed(
    usual: float, growth: float, longest: Callable[[], float], usable: float
) -> float:
    """Bytes for sentences of any length, with one more program compiled only near the limit.

    Args:
      usual: bytes of the program for usual sentences, which runs anyway.
      growth: at most so many times as much the longest sentences take.
      longest: compiles their program.
      usable: bytes; where the bound lies below, `usual` is all that has to be known.
    """
    return usual if growth * usual <= usable else max(usual, longest())


@dataclasses.dataclass(frozen=True)
class Largest:
    """The largest size that fits.

    Attributes:
      size: one of those asked about; None where not even the smallest fits.
      bytes: that it takes, or the smallest one does.
      over: the next size known not to fit and its bytes; None where the largest of all fits.
    """

    size: int | None
    bytes: float
    over: tuple[int, float] | None


def largest_fitting(sizes: Sequence[int], need: Callable[[int], float], usable: float) -> Largest:
    """The largest of the sizes that fits, with few programs compiled.

    The largest is asked about first: where it fits, one program is compiled, which then runs.
    Otherwise memory is nearly affine in the size: the line through one that fits and one that does
    not says what to compile next, until nothing that could fit is left between them.

    Args:
      sizes: ascending.
      need: bytes that a size takes, asked once a size.
      usable: bytes that there are.
    """
    low, high = 0, len(sizes) - 1
    above = need(sizes[high])
    if above <= usable:
        return Largest(sizes[high], above, None)
    below = need(sizes[low]) if high else above
    if below > usable:
        return Largest(None, below, (sizes[low], below))
    while high - low > 1:
        middle = (low + high) // 2
        if math.isfinite(above):
            slope = (above - below) / (sizes[high] - sizes[low])
            reach = sizes[low] + (usable - below) / slope
            middle = max(place for place in range(low, high) if sizes[place] <= reach)
        if middle == low:
            break
        found = need(sizes[middle])
        if found <= usable:
            low, below = middle, found
        else:
            high, above = middle, found
    return Largest(sizes[low], below, (sizes[high], above))


def batch_sizes(count: int) -> list[int]:
    """Batches worth trying for so many images: each device's share is a power of two."""
    devices = jax.local_device_count()
    most = MOST_OF_PROCESSOR if jax.default_backend() == "cpu" else MOST
    sizes = [devices]
    while sizes[-1] < count and sizes[-1] < most * devices:
        sizes.append(2 * sizes[-1])
    return sizes


def fit_batch(
    asked: int | Literal["auto"],
    count: int,
    need: Callable[[int], float],
    memory: Memory,
    *,
    noun: str,
    tell: Callable[[str], None],
) -> int:
    """How many images a batch shall have, none of whose programs has run yet.

    Args:
      asked: so many, which is refused where it does not fit; or "auto", the most that fit.
      count: images that there are.
      need: bytes of one device that batches of so many images take.
      memory: of one device.
      noun: "image" or "clip".
      tell: takes a sentence on what was chosen and why.

    Raises:
      TooLargeError: so many, or not even one, do not fit; the text says what to do.
    """
    if asked != AUTO:
        try:
            wanted = need(asked)
        except NoAccountError:
            return asked
        if wanted > memory.size:
            raise TooLargeError(
                f"{counted(asked, noun)} at once need {account(wanted, memory)}; take fewer with "
                "--batch-size, let --batch-size=auto find the most that fit, or say with "
                "--memory=GB that there is more"
            )
        return asked
    found = largest_fitting(batch_sizes(count), need, memory.usable)
    if found.size is None:
        raise TooLargeError(
            f"even {counted(batch_sizes(count)[0], noun)} at once would need "
            f"{account(found.bytes, memory)}; ask for fewer methods or sentences at a time, or say "
            "with --memory=GB that there is more"
        )
    why = ""
    if found.over is not None:
        size, over = found.over
        why = (
            f"; {size} would need {gigabytes(over)}"
            if math.isfinite(over)
            else (f"; the compiler refuses {size}")
        )
    tell(f"{counted(found.size, noun)} at once: {account(found.bytes, memory)}{why}")
    return found.size


def account(size: float, memory: Memory) -> str:
    """Such as "3.1 of 14.2 GB (free on this machine) by the compiler's account"."""
    if not math.isfinite(size):
        return f"more than the {gigabytes(memory.size)} {memory.source}, as its compiler says"
    there = gigabytes(memory.size)
    return f"{_number(size)} of {there} ({memory.source}) by the compiler's account"


def gigabytes(size: float) -> str:
    """Such as "3.1 GB"."""
    return f"{_number(size)} GB"


def _number(size: float) -> str:
    value = size / GIGABYTE
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
