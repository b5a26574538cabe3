"""Names for images that others named: they stay below a folder, and each means one image."""

import pathlib

from capjax.data.stores.remarks import Remarks

UP = "__"
"""What a step out of the folder is called."""
MOVED = "names that would lead out of a folder, or are no plain paths, are written otherwise"
REPEATED = "images with the name of an earlier one in their shard are told apart by a number"


def inside(name: str) -> str:
    """A name as a path that stays below whatever folder it is put into; "" where nothing is left.

    `../a.jpg` is `__/a.jpg`, `/data/a.jpg` is `data/a.jpg`; a backslash parts folders too.
    """
    parts = name.replace("\\", "/").replace("\0", "_").split("/")
    return "/".join(UP if part == ".." else part for part in parts if part not in ("", "."))


class Naming:
    """Names the images of one shard, and remarks where a name is not as it is written there.

    Attributes:
      names: given so far, in order.
    """

    def __init__(self, shard: str, remarks: Remarks) -> None:
        self.names: dict[str, None] = {}
        self._shard, self._remarks = shard, remarks
        self._last: dict[str, int] = {}

    def add(self, written: str, otherwise: str) -> str:
        """Names the next image.

        Args:
          written: its name in the shard. A second image of one name is called `name~2.jpg`.
          otherwise: its name where it has none.
        """
        wanted = inside(written) or otherwise
        if written and wanted != written.removeprefix("./"):
            self._remarks.add(MOVED, f"{self._shard}: {written} as {wanted}")
        name = wanted
        while name in self.names:
            number = self._last[wanted] = self._last.get(wanted, 1) + 1
            path = pathlib.PurePosixPath(wanted)
            name = str(path.with_name(f"{path.stem}~{number}{path.suffix}"))
        if name != wanted:
            self._remarks.add(REPEATED, f"{self._shard}/{name}")
        self.names[name] = None
        return name
