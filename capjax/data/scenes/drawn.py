"""A sequence whose entries are drawn when they are asked for."""

import abc
from collections.abc import Iterator, Sequence
from typing import ClassVar, TypeVar, overload

T = TypeVar("T")


class Drawn(Sequence[T]):
    """`length` entries by number; a subclass says how to draw one.

    Attributes:
      KIND: what an entry is called in errors.
      length: number of entries.
    """

    KIND: ClassVar[str]
    length: int

    @abc.abstractmethod
    def draw(self, number: int) -> T:
        """Entry `number`, from 0 to `length - 1`."""

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(self.length))

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.length))]
        number = index + self.length if index < 0 else index
        if not 0 <= number < self.length:
            raise IndexError(f"there is no {self.KIND} {index}; there are {self.length}")
        return self.draw(number)
