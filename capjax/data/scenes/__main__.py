"""Writes scenes into a folder: `python -m capjax.data.scenes --out DIR --n 64 --split val`."""

import sys
from collections.abc import Sequence

from capjax.data.scenes.command_line import write_scenes
from capjax.data.scenes.still import write_folder
from capjax.runtime.standard_streams import outlive_readers


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: writes a folder of scenes and says what is in it."""
    return write_scenes(
        write_folder,
        arguments,
        module="capjax.data.scenes",
        description="Writes scenes as PNG files with COCO captions and instances.",
        kind="scenes",
        contents="images/, captions_SPLIT.json, instances_SPLIT.json",
    )


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
