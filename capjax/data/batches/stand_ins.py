"""Which rows of a batch take the place of those whose images cannot be read."""

from collections.abc import Callable

import numpy as np

from capjax.data.pictures.images import UnreadableFileError


def stand_ins(images: np.ndarray, rows: np.ndarray, read: Callable[[int], object]) -> np.ndarray:
    """For each of some rows of a global batch, itself or the next one whose image can be read.

    After the last row comes the first one again, so that the number of processes changes nothing.

    Args:
      images: [B] number of the image of each row.
      rows: of this process.
      read: raises UnreadableFileError for the number of an image that cannot be read.

    Raises:
      UnreadableFileError: no image of the batch can be read.
    """
    problems: dict[int, UnreadableFileError | None] = {}

    def problem(image: int) -> UnreadableFileError | None:
        if image not in problems:
            try:
                read(image)
                problems[image] = None
            except UnreadableFileError as error:
                problems[image] = error
        return problems[image]

    chosen = np.empty_like(rows)
    for place, row in enumerate(rows):
        following = np.roll(np.arange(len(images)), -row)
        found = next((each for each in following if problem(int(images[each])) is None), None)
        if found is None:
            raise UnreadableFileError(
                f"no image of a whole batch can be read; first: {problem(int(images[row]))}"
            )
        chosen[place] = found
    return chosen
