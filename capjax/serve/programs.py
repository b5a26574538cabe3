"""What strangers make the server compile, and that it does not grow without end."""

from collections.abc import Callable, Hashable

import jax

MOST = 128
"""Kinds of questions whose programs are kept in memory; a server is seldom asked more."""


class Programs:
    """Kinds of questions that were asked since all programs were last given up."""

    def __init__(self, most: int = MOST, forget: Callable[[], object] = jax.clear_caches) -> None:
        """Takes how many are kept, and what gives all programs up."""
        self.most = most
        self.forget = forget
        self.kinds: set[Hashable] = set()

    def used(self, *kinds: Hashable) -> None:
        """Hears what is asked next, each kind of which has programs of its own."""
        self.kinds.update(kinds)
        if len(self.kinds) > self.most:
            self.forget()
            self.kinds = set(kinds)
