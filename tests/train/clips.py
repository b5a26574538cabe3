"""A dataset of a few clips on disk, in MSVD's layout: one colour each, first dark, then bright."""

from pathlib import Path

import numpy as np

from tests.data.movies import write_movie
from tests.train.tiny import COLOURS


def write_clips(folder: Path, *, train: int = 6, validation: int = 2) -> Path:
    """Writes `msvd/` below `folder` and returns `folder`."""
    clips = folder / "msvd" / "YouTubeClips"
    clips.mkdir(parents=True)
    rows = ["VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description"]
    numbers = []
    for number in range(train + validation):
        name, colour = list(COLOURS.items())[number % 3]
        bright = np.linspace(0.2, 1.0, 9 + number).reshape(-1, 1, 1, 1)
        frames = np.broadcast_to(bright * np.array(colour), (9 + number, 32, 48, 3))
        write_movie(clips / f"v-_{number}_0_1.avi", list(frames.astype(np.uint8)))
        for text in (f"a {name} light goes on", f"{name} light"):
            rows.append(f"v-_{number},0,1,1,clean,1,English,{text}")
        numbers.append(f"v-_{number}_0_1 vid{number + 1 if number < train else 1200 + number}")
    (folder / "msvd" / "video_corpus.csv").write_text("\n".join(rows) + "\n")
    (folder / "msvd" / "youtube_mapping.txt").write_text("\n".join(numbers) + "\n")
    return folder
