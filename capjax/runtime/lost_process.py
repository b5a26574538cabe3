"""Says in one sentence why JAX aborts this process: another process of the run died.

The thread of JAX's coordination service calls `missed_heartbeat_callback` or, without one, prints a
stack trace and aborts. `jax.distributed.initialize` passes none on. A callback in Python is called
where jaxlib can show it the error; where it cannot (0.7 to 0.10 at least), that ends in
`std::terminate` without a trace. So all three ways out lead to the same sentence.
"""

import contextlib
import ctypes
import functools
import os
import signal
from collections.abc import Iterator
from typing import Any

import jax

STOPPED = 1
_SENTENCE = (
    "another process of this run died (its own log says why), and JAX ended this one: run the "
    "same command for all of them to go on from what is saved"
)
_SIGNS = (
    *("Connection closed by peer", "Connection reset by peer", "Socket closed", "Broken pipe"),
    *("stopped sending heartbeats", "oordination service", "Gloo", "NCCL"),
)
"""What is said by operations between processes that lost one of them."""


def loss(error: BaseException) -> str | None:
    """What to tell the user of an error that comes from a lost process; None for other errors."""
    if jax.process_count() > 1 and any(sign in str(error) for sign in _SIGNS):
        return _SENTENCE
    return None


@contextlib.contextmanager
def explained_loss() -> Iterator[None]:
    """A block that calls `jax.distributed.initialize`: a process lost afterwards is explained."""
    if os.name == "posix":
        libc = ctypes.CDLL(None)
        libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.signal.restype = ctypes.c_void_p
        libc.signal(signal.SIGABRT, ctypes.cast(_ON_ABORT, ctypes.c_void_p))
        with contextlib.suppress(OSError, AttributeError):  # no GNU library of C++
            ctypes.CDLL("libstdc++.so.6")._ZSt13set_terminatePFvvE(_ON_TERMINATE)
    from jax._src import distributed

    library: Any = getattr(distributed, "_jax", None)
    create = getattr(library, "get_distributed_runtime_client", None)
    if create is None:  # another version: the abort itself is explained
        yield
        return
    library.get_distributed_runtime_client = functools.partial(
        create, missed_heartbeat_callback=_end
    )
    try:
        yield
    finally:
        library.get_distributed_runtime_client = create


def _end(*_: object) -> None:
    os.write(2, f"error: {_SENTENCE}\n".encode())
    os._exit(STOPPED)


_ON_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end)
_ON_TERMINATE = ctypes.CFUNCTYPE(None)(_end)
