"""Keeps some versions of XLA from computing wrong sums on a CPU.

jaxlib 0.10.2 and 0.11 hand reductions on a CPU to YNNPACK, which gives wrong numbers without a word
where an operand is broadcast over more than 32,768 of them (jax-ml/jax#39103). The gradients of all
words of 32 sentences were among these: Grad-CAM and Integrated Gradients of a batch named other
places than those of one image. jaxlib 0.10.1 and 0.12 are right.
"""

import importlib.metadata
import os
import re
import sys
import warnings

OPTION = "--xla_cpu_experimental_ynn_fusion_type"
SAFE = f"{OPTION}=-reduce"
FIRST_WRONG, RIGHT_AGAIN = (0, 10, 2), (0, 12, 0)


def is_affected(version: str) -> bool:
    """Whether a jaxlib of this version sums wrongly on a CPU."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return FIRST_WRONG <= numbers < RIGHT_AGAIN


def avoid_wrong_sums() -> None:
    """Adds to `$XLA_FLAGS` what makes sums right; a choice that is there already stays.

    XLA reads its flags when jax makes its first array. Later than that nothing can be done but to
    warn.
    """
    try:
        version = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return
    flags = os.environ.get("XLA_FLAGS", "")
    if not is_affected(version) or OPTION in flags:
        return
    if _computes_already():
        warnings.warn(
            f"jaxlib {version} sums wrongly on a CPU (jax-ml/jax#39103), and it has started: "
            f"import capjax before the first array, or set XLA_FLAGS={SAFE}",
            stacklevel=3,
        )
        return
    os.environ["XLA_FLAGS"] = f"{flags} {SAFE}".strip()


def _computes_already() -> bool:
    """Whether jax has started, and computes on a CPU."""
    if "jax" not in sys.modules:
        return False
    import jax
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized() and jax.default_backend() == "cpu"
