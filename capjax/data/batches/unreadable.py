"""Images that cannot be decoded where some may be: rows that say so, and how many there are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from capjax.data.batches.loading import Batch
from capjax.data.batches.pipeline import Inputs
from capjax.data.pictures.images import UnreadableFileError


@dataclasses.dataclass(frozen=True, eq=False)
class TolerantInputs:
    """What `inputs` gives, and `readable` [B] bool: False in rows that another image fills.

    Attributes:
      inputs: raise `UnreadableFileError` for an image that cannot be decoded.
      count: images in all.
    """

    inputs: Inputs
    count: int

    def __call__(self, numbers: np.ndarray) -> Batch:
        """Arrays of the images of the given numbers [B]."""
        try:
            return {**self.inputs(numbers), "readable": np.ones(len(numbers), bool)}
        except UnreadableFileError:
            readable = np.array([self._reads(int(number)) for number in numbers])
        others = (number for number in range(self.count) if self._reads(number))
        stand_in = numbers[readable][0] if readable.any() else next(others, None)
        if stand_in is None:
            raise UnreadableFileError(f"none of {self.count} images can be read")
        chosen = np.where(readable, numbers, stand_in)
        return {**self.inputs(chosen), "readable": readable}

    def _reads(self, number: int) -> bool:
        return problem_of(self.inputs, number) is None


@dataclasses.dataclass(frozen=True, eq=False)
class RequiredInputs:
    """What `inputs` gives; an image that cannot be decoded is an error, as none may replace it."""

    inputs: Inputs

    def __call__(self, numbers: np.ndarray) -> Batch:
        """Arrays of the images of the given numbers [B]."""
        try:
            return self.inputs(numbers)
        except UnreadableFileError as error:
            raise UnreadableFileError(
                f"{error}. It is an image to validate on, of which none may be missing "
                "(data.unreadable_share is of training images): scores of fewer could not be "
                "compared. Mend or fetch the file again, then run the same command"
            ) from error


def problem_of(inputs: Inputs, number: int) -> str | None:
    """Why the image of a number cannot be read; None where it can."""
    try:
        inputs(np.array([number]))
    except UnreadableFileError as error:
        return str(error)
    return None


def refuse_more(problems: Sequence[str], *, allowed: int, images: int) -> None:
    """Raises ValueError, with the list, unless at most `allowed` images have a problem."""
    if len(problems) > allowed:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise ValueError(
            f"{len(problems)} of {images} training images cannot be read, and {allowed} may be "
            f"(data.unreadable_share):{listed}\n"
            "mend or fetch these files again, or allow more with --config.data.unreadable_share"
        )
