"""Splits: their names, and how images are divided that have none."""

import dataclasses
import hashlib
from collections.abc import Sequence

UNSPLIT = "all"
"""The split of every record of a source that has no splits."""

_SPLITS = {
    **dict.fromkeys(("train", "training", "restval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_name(name: str) -> str:
    """A split by our name of it: "train", "val" or "test"; one of another kind by its own.

    COCO's `restval` images are counted as `train`, as is usual.
    """
    return _SPLITS.get(name.strip().casefold(), name.strip())


@dataclasses.dataclass(frozen=True)
class Draw:
    """How images without a split are divided: by a hash of their names.

    All captions of an image share its name, so no caption crosses splits, and adding or removing
    images moves no other image (but the one that `splits` may move in a small set).

    Attributes:
      val_share, test_share: of the images, between 0 and 1; the others are for training.
      seed: others divide in another way.
      of: the split that is divided: `UNSPLIT`, or "train" where a source has no validation split.
    """

    val_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    of: str = UNSPLIT

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share >= 1:
            raise ValueError(
                f"got shares {self.val_share} for validation and {self.test_share} for tests; "
                "expected both at least 0, and less than 1 together"
            )

    def splits(self, keys: Sequence[str]) -> list[str]:
        """The split of the image of each key.

        In a small set of two or more that leaves none to validate on, the training image that came
        nearest is moved there.
        """
        numbers = [self._number(key) for key in keys]
        last = 1 - self.val_share - self.test_share
        found = [
            "train" if number < last else "val" if number < 1 - self.test_share else "test"
            for number in numbers
        ]
        training = [place for place, split in enumerate(found) if split == "train"]
        if self.val_share and "val" not in found and len(training) > 1:
            found[max(training, key=numbers.__getitem__)] = "val"
        return found

    def _number(self, key: str) -> float:
        text = f"{self.seed} {key}" if self.seed else key
        encoded = text.encode(errors="surrogateescape")  # names may hold bytes that are no UTF-8
        return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big") / 2**64
