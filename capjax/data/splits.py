"""Splits: their names, and how images are divided that have none."""

import dataclasses
import hashlib

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
    images moves no other image.

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

    def split(self, key: str) -> str:
        """The split of the image of that key."""
        text = f"{self.seed} {key}" if self.seed else key
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        if draw < 1 - self.val_share - self.test_share:
            return "train"
        return "val" if draw < 1 - self.test_share else "test"
