"""How many requests with pictures are here at once, from before their first byte of a picture."""

import contextlib
from collections.abc import Callable, Iterator

from capjax.serve.limits import RefusedError


class Room:
    """Places for requests; of one event loop, so without locks."""

    def __init__(self, places: int, refusal: Callable[[str], RefusedError]) -> None:
        """Takes how many there are, and what is raised where all are taken."""
        self.places = places
        self.refusal = refusal
        self.used = 0

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """A place until the request is answered.

        Raises:
          RefusedError: there is none; nothing of the body was read.
        """
        if self.used >= self.places:
            raise self.refusal(f"{self.places} requests are here already")
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1
