"""Reads the text of a compiled program: computations, shapes, trips of loops, lines of code."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

BITS = {"pred": 8, "token": 0, "opaque": 0}
"""Bits of a number, where the digits of its type's name do not say so."""

_ARRAY = re.compile(r"\b(pred|token|opaque|[a-z]+\d+[a-z0-9]*)\[([\d,]*)\](\{[^}]*\})?")
_LINE = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\((.*)$")
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_FRAME = re.compile(r"(\d+) \{(.*)\}")
_NAME = re.compile(r'(\d+) "(.*)"')

_ROOT = f"{Path(__file__).resolve().parents[2]}/"

MOVED = ("copy", "bitcast", "convert", "reshape", "optimization-barrier")
"""Operations after which a number is still the same number."""


@dataclasses.dataclass(frozen=True)
class Array:
    """The type of an array.

    Attributes:
      dtype: as XLA writes it.
      dims: sizes.
      fast: whether it lies in a TPU's vector memory rather than its main memory.
    """

    dtype: str
    dims: tuple[int, ...]
    fast: bool

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Bytes that they take, without padding."""
        digits = re.search(r"\d+", self.dtype)
        bits = BITS.get(self.dtype, int(digits[0]) if digits else 32)
        return self.size * bits // 8

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line.

    Attributes:
      name: without the percent sign.
      opcode: such as "fusion".
      results: the arrays it makes, one or those of a tuple.
      operands: names of what it reads.
      inside: all that stands between its parentheses.
      rest: all that stands behind them.
      root: whether it is what its computation returns.
    """

    name: str
    opcode: str
    results: tuple[Array, ...]
    operands: tuple[str, ...]
    inside: str
    rest: str
    root: bool

    def says(self, pattern: str) -> str | None:
        """The first group of a pattern in `rest`."""
        found = re.search(pattern, self.rest)
        return found[1] if found else None

    def calls(self, attribute: str) -> str | None:
        """The computation that an attribute names."""
        return self.says(rf"\b{attribute}=%?([\w.\-]+)")

    @property
    def bytes(self) -> int:
        """Bytes of all results in main memory."""
        return sum(array.bytes for array in self.results if not array.fast)


@dataclasses.dataclass(frozen=True)
class Computation:
    """A list of instructions by name, in the order in which they run."""

    name: str
    instructions: Mapping[str, Instruction]

    @functools.cached_property
    def root(self) -> Instruction:
        """What it returns."""
        return next(one for one in self.instructions.values() if one.root)

    @functools.cached_property
    def parameters(self) -> dict[str, int]:
        """Name of a parameter -> which one it is."""
        found = self.instructions.values()
        return {one.name: int(one.inside) for one in found if one.opcode == "parameter"}

    @functools.cached_property
    def readers(self) -> dict[str, list[Instruction]]:
        """Name of an instruction -> those that read it."""
        found: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for one in self.instructions.values():
            for operand in dict.fromkeys(one.operands):
                found[operand].append(one)
        return found

    def origin(self, name: str) -> Instruction:
        """The instruction that made a number, before it was copied about."""
        one = self.instructions[name]
        while one.opcode in MOVED and one.operands:
            one = self.instructions[one.operands[0]]
        return one


@dataclasses.dataclass(frozen=True)
class Executed:
    """An instruction, the computation it stands in, and how often it runs."""

    instruction: Instruction
    computation: Computation
    times: int


class Module:
    """A compiled program.

    Args:
      text: of `compiled.as_text()`.
      turns: of a loop whose end only its data decide: beam search.
    """

    def __init__(self, text: str, turns: int | None = None) -> None:
        self.computations: dict[str, Computation] = {}
        self.turns = turns
        self._tables: dict[str, dict[int, str]] = {}
        entry = ""
        lines = iter(text.splitlines())
        for line in lines:
            head = _HEAD.match(line)
            if head and "=" not in line.split("(")[0]:
                body = dict(_instructions(lines))
                self.computations[head[2]] = Computation(head[2], body)
                entry = head[2] if head[1] else entry
            elif line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
                self._tables[line] = _table(lines)
        if not entry:
            raise ValueError("the text has no ENTRY computation; expected `compiled.as_text()`")
        self.entry = self.computations[entry]

    def executed(
        self, computation: Computation | None = None, times: int = 1
    ) -> Iterator[Executed]:
        """All instructions that run, with how often; the inside of a fusion is one of them.

        Of a conditional the longest branch runs.
        """
        own = computation or self.entry
        for one in own.instructions.values():
            yield Executed(one, own, times)
            if one.opcode == "while":
                body = self.computations[one.calls("body") or ""]
                yield from self.executed(body, times * self.trips(one, own))
            elif one.opcode == "call":
                yield from self.executed(self.computations[one.calls("to_apply") or ""], times)
            elif one.opcode == "conditional":
                names = re.findall(r"%?([\w.\-]+)", _branches(one))
                found = [self.computations[name] for name in names]
                longest = max(found, key=lambda branch: len(branch.instructions))
                yield from self.executed(longest, times)

    def trips(self, loop: Instruction, around: Computation) -> int:
        """How often a loop's body runs.

        Raises:
          ValueError: nothing in the text says so, and no `turns` were given.
        """
        known = loop.says(r'"known_trip_count":\{"n":"(\d+)"')
        if known:
            return int(known)
        condition = self.computations[loop.calls("condition") or ""]
        last = condition.root
        if last.opcode == "compare" and last.says(r"direction=(LT)"):
            limit = condition.origin(last.operands[1])
            if limit.opcode == "constant":
                return max(0, int(limit.inside) - self._start(last, condition, loop, around))
        if self.turns is None:
            raise ValueError(
                f"the loop {loop.name} has no trip count that the text tells; give `turns`"
            )
        return self.turns

    def _start(
        self, compare: Instruction, condition: Computation, loop: Instruction, around: Computation
    ) -> int:
        """The counter before the first turn; 0 where the text does not say."""
        counter = condition.origin(compare.operands[0])
        place = counter.says(r"index=(\d+)")
        given = around.origin(loop.operands[0])
        if place is None or given.opcode != "tuple":
            return 0
        first = around.origin(given.operands[int(place)])
        return int(first.inside) if first.opcode == "constant" else 0

    def line(self, instruction: Instruction) -> str:
        """Where an instruction comes from: the innermost frame that no library owns."""
        frame = int(instruction.says(r"stack_frame_id=(\d+)") or 0)
        while frame:
            found = self._numbers("StackFrames", frame)
            place = self._numbers("FileLocations", found["file_location_id"])
            path = self._tables["FileNames"][place["file_name_id"]]
            if "site-packages" not in path:
                name = self._tables["FunctionNames"][place["function_name_id"]].split(".")[-1]
                return f"{path.removeprefix(_ROOT)}:{place['line']} {name}"
            frame = found["parent_frame_id"] - 1  # as XLA writes it
        return ""

    def _numbers(self, table: str, row: int) -> dict[str, int]:
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", self._tables[table][row])}


def _instructions(lines: Iterator[str]) -> Iterator[tuple[str, Instruction]]:
    for line in lines:
        if line.startswith("}"):
            return
        found = _LINE.match(line)
        if found:
            root, name, kinds, opcode, behind = found.groups()
            inside, rest = _parted(behind)
            yield (
                name,
                Instruction(
                    name=name,
                    opcode=opcode,
                    results=tuple(_arrays(kinds)),
                    operands=tuple(re.findall(r"%([\w.\-]+)", inside)),
                    inside=inside,
                    rest=rest,
                    root=bool(root),
                ),
            )


def _parted(text: str) -> tuple[str, str]:
    """What stands before the parenthesis that closes, and what behind it."""
    depth = 1
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return text[:place], text[place + 1 :]
    return text, ""


def _arrays(kinds: str) -> Iterator[Array]:
    for dtype, dims, layout in _ARRAY.findall(kinds):
        sizes = tuple(int(size) for size in dims.split(",") if size)
        yield Array(dtype, sizes, "S(1)" in layout)


def _branches(conditional: Instruction) -> str:
    many = conditional.says(r"branch_computations=\{([^}]*)\}")
    if many is not None:
        return many
    return f"{conditional.calls('true_computation')} {conditional.calls('false_computation')}"


def _table(lines: Iterator[str]) -> dict[int, str]:
    found = {}
    for line in lines:
        row = _NAME.match(line) or _FRAME.match(line)
        if not row:
            break
        found[int(row[1])] = row[2]
    return found
