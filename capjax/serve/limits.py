"""What a server takes, and how it says that something is too much."""

import dataclasses
from collections.abc import Mapping

from capjax.explainers.wording import LEAST_TOKENS


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a request may ask for, and how much is kept waiting.

    Attributes:
      bytes: of an uploaded file.
      pixels: of a picture, width times height, read from its header before anything is decoded.
      frames, moving_pixels: of a clip, and the pixels of all its frames together.
      upload_seconds: within which the whole file has to arrive.
      work_seconds: that the work on one batch may take; asked between the parts of a method.
      waiting: requests that wait for the devices; more are told to come back (503).
      batch: requests that are joined at most.
      readers: pictures that are decoded at once.
      tokens: of a query; and what is explained of it, its words, phrases and what is asked of it.
      regions, corners: polygons to remove of a picture, and the corners of each.
      methods, sentences, contrasts, characters: methods of a request, its queries, its contrasts
        and keywords, and the characters of each of these.
    """

    bytes: int = 20 * 2**20
    pixels: int = 40_000_000
    frames: int = 1800
    moving_pixels: int = 1_000_000_000
    upload_seconds: float = 30.0
    work_seconds: float = 120.0
    waiting: int = 64
    batch: int = 8
    readers: int = 2
    regions: int = 4
    corners: int = 200
    methods: int = 4
    sentences: int = 4
    contrasts: int = 4
    characters: int = 300
    tokens: int = LEAST_TOKENS

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(f"got the limit {name}={value}; expected a number above 0")

    @property
    def places(self) -> int:
        """Requests with pictures that are here at once: read, in line, or worked on."""
        return self.waiting + self.batch + self.readers


class RefusedError(Exception):
    """A request that is not answered as it asked.

    Attributes:
      status: of HTTP.
      text: what came, what was expected, what to do.
      headers: of the response.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})
