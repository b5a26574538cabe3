"""Where the time of a run went, for --profile."""

from collections.abc import Mapping
from typing import get_args

from capjax.folder.pipeline.stages import Stage
from capjax.runtime.text_table import format_table

BESIDE = {"decode": "reading", "write": "writing"}


def profile_table(
    seconds: Mapping[str, float], beside: Mapping[str, float], whole: float, count: str
) -> str:
    """Seconds and share of each stage, and the rest that no stage accounts for.

    Args:
      seconds: of each stage, of the thread that feeds the device.
      beside: of each stage, of the threads that work at the same time.
      whole: seconds of the run; stages do not overlap, and are part of it.
      count: what the run was over, such as "12 images".
    """
    rows: list[tuple[str, ...]] = [("stage", "seconds", "share", "in threads beside it")]
    own = {stage: seconds.get(stage, 0.0) for stage in get_args(Stage)}
    for stage, spent in {**own, "rest": whole - sum(own.values())}.items():
        threads = f"{beside[stage]:.2f} {BESIDE[stage]}" if beside.get(stage) else ""
        rows.append((stage, f"{spent:.2f}", f"{100 * spent / whole:.1f} %", threads))
    return (
        f"{whole:.2f} s over {count}, by the thread that feeds the device; in decode and write it "
        f"waits for other threads\n{format_table(rows)}"
    )
