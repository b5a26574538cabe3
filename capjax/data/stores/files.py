"""Files of this machine, of one folder or named one by one."""

import dataclasses
import pathlib
from collections.abc import Sequence

from capjax.runtime.fingerprint import Fingerprint, fingerprint, still


@dataclasses.dataclass(frozen=True)
class Files:
    """Files below one folder; a `Store`."""

    root: pathlib.Path
    names: Sequence[str]

    def size(self, name: str) -> int:
        """See `Store`."""
        try:
            return self.open(name).stat().st_size
        except OSError:
            return -1

    def open(self, name: str) -> pathlib.Path:
        """See `Store`: the path."""
        return self.root / name

    def read(self, name: str) -> tuple[pathlib.Path, Fingerprint]:
        """See `Store`."""
        path = self.open(name)
        return path, fingerprint(path)  # first: what changes from here on, the next run notices

    def still(self, name: str, known: Fingerprint) -> Fingerprint | None:
        """See `Store`."""
        return still(self.open(name), known)
