"""Progress of long work in a notebook, as a bar that is gone once the work is done."""

import sys
from collections.abc import Sequence
from typing import Any, Self

SOON = 1.0
"""Seconds: work that takes less shows no bar."""
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


def in_notebook() -> bool:
    """Whether a kernel runs this process, for a notebook that shows its results."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


class NotebookBar:
    """A bar over several steps for each of some items; outside a notebook it shows nothing.

        with NotebookBar(["gradcam", "ig"], items=40) as bar:
            bar.reached("ig", 2, 8, items=16)      # of 16 items, a quarter of their second step
            bar.finished(16)

    Args:
      steps: what is done for every item, by name, in order.
      items: how many there are.
    """

    def __init__(self, steps: Sequence[str], items: int) -> None:
        self._steps, self._before, self._bar = list(steps), 0, None
        if in_notebook():
            self._bar = _widget(items, ", ".join(steps))

    @property
    def shown(self) -> bool:
        """Whether anybody sees it."""
        return self._bar is not None

    def reached(self, step: str, done: int, parts: int, *, items: int) -> None:
        """So many parts of a step are done for the items at hand."""
        share = (self._steps.index(step) + done / parts) / len(self._steps)
        self._go(self._before + items * share, step)

    def finished(self, items: int) -> None:
        """All steps are done for the items at hand."""
        self._before += items
        self._go(self._before, self._steps[-1])

    def _go(self, place: float, step: str) -> None:
        if self._bar is not None:
            self._bar.set_description(step, refresh=False)
            self._bar.update(place - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _widget(items: int, text: str) -> Any:
    from tqdm.auto import tqdm  # looks for what draws in a notebook when it is imported

    return tqdm(total=items, desc=text, leave=False, delay=SOON, bar_format=FORMAT)
