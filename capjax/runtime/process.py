"""What a command has of its machine, and what it sets up once, before its first array."""

import ctypes
import os
import pathlib
import sys

import jax

COMPILED = "~/.cache/capjax/xla"
"""Compiled programs, kept between runs; $JAX_COMPILATION_CACHE_DIR names another folder."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # glibc's malloc.h
_LARGEST = 2**31 - 1


def cores() -> int:
    """Of the processor, those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_programs() -> None:
    """Keeps compiled programs on disk: the second run of a command starts at once."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        folder = pathlib.Path(COMPILED).expanduser()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def keep_freed_memory() -> None:
    """Tells glibc to reuse large blocks instead of returning them to the kernel.

    XLA's CPU backend allocates its buffers anew at every step. By default each is mapped, zeroed
    page by page and unmapped again. In a step of `configs/ucm_soft.py` that is 167,000 page faults
    and a quarter of the processor time; with this, 18,000 and a twentieth. $MALLOC_… settings and
    other C libraries are left alone.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # One heap for all threads, which grows by 256 MB at once, never shrinks and serves all sizes.
    for option, value in (
        (_ARENA_MAX, 1),
        (_MMAP_THRESHOLD, _LARGEST),
        (_TRIM_THRESHOLD, _LARGEST),
        (_TOP_PAD, 2**28),
    ):
        mallopt(option, value)
