"""Docstrings of capjax are plain text with `code` in backticks; autodoc reads reStructuredText."""

import itertools
import re
from collections.abc import Iterator, Sequence

from sphinx.application import Sphinx

CODE = re.compile(r"(`+[^`]+`+)")
MARKUP = re.compile(r"[\\*|]|_(?!\w)")
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
ENTRY = re.compile(r"  (\w+(?:, \w+)*): (.*)")


def translated(lines: Sequence[str]) -> list[str]:
    """Lines as reStructuredText: code is literal, drawn blocks stay as they are, no markup else."""
    first = next((at for at, line in enumerate(lines) if SECTION.match(line)), len(lines))
    return [*_text(lines[:first]), *_sections(lines[first:])]


def _text(lines: Sequence[str]) -> Iterator[str]:
    """What stands before the first section; lines indented by four after a blank one are drawn."""
    drawn, before = False, ""
    for line in lines:
        if line.strip():
            begins = not drawn and line.startswith("    ") and not before.strip()
            if begins:
                yield from ("::", "")
            drawn = begins or (drawn and line.startswith("    "))
        yield line if drawn else _literal(line)
        before = line


def _sections(lines: Sequence[str]) -> Iterator[str]:
    """Entries with all that belongs to one as its text; several things returned become a list."""
    section, listed = "", False
    for at, line in enumerate(lines):
        head = SECTION.match(line)
        if head:
            section = head[1]
            listed = section == "Returns" and _several(lines[at + 1 :])
            yield from [line, "  By name:", ""] if listed else [line]
        elif section == "Returns" and listed:
            entry = ENTRY.match(line)
            yield f"  * ``{entry[1]}``: {_literal(entry[2])}" if entry else _flat(line)
        elif section != "Raises" and (entry := ENTRY.match(line)):
            names = entry[1].replace(", ", ",")  # a blank would end the name
            yield f"  {names}: {_literal(entry[2])}"
        else:
            yield _flat(line)


def _several(lines: Sequence[str]) -> bool:
    own = list(itertools.takewhile(lambda line: line.startswith("  "), lines))
    return sum(bool(ENTRY.match(line)) for line in own) > 1


def _flat(line: str) -> str:
    """No deeper than an entry's text."""
    depth = len(line) - len(line.lstrip())
    return " " * min(depth, 4) + _literal(line.lstrip())


def _literal(line: str) -> str:
    parts = CODE.split(line)
    return "".join(
        f"``{part.strip('`')}``" if at % 2 else MARKUP.sub(r"\\\g<0>", part)
        for at, part in enumerate(parts)
    )


def _process(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = translated(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; before napoleon, which writes markup of its own."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
