"""Names of the files that belong to an image, short enough for every file system."""

import hashlib
import os

LONGEST_NAME, LONGEST_PATH = 255, 2048
"""Bytes of one name in common file systems, and of a path that leaves room for the folder's."""
AROUND = "..tmp"
"""What `replacing` adds to a name while it writes."""


def fitting(file: str, suffix: str) -> str:
    """The name of what belongs to `file`: `file` with `suffix`, shortened where that is too long.

    A shortened name keeps its beginning and its folder, and holds 80 bits of the whole's digest: no
    two files share one. A path that is too long as a whole loses its folder too.
    """
    folder, _, name = file.rpartition("/")
    encoded, ending = os.fsencode(name), os.fsencode(suffix)
    longest = LONGEST_NAME - len(os.fsencode(AROUND)) - len(ending)
    whole_path = len(os.fsencode(file)) > LONGEST_PATH
    if len(encoded) <= longest and not whole_path:
        return file + suffix
    digest = hashlib.sha256(os.fsencode(file)).hexdigest()[:20]
    kept = encoded[: longest - len(digest) - 1].decode(errors="ignore")
    short = f"{kept}~{digest}{suffix}"
    return short if whole_path or not folder else f"{folder}/{short}"
