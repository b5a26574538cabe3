"""README and the pages of docs/, and what is written in them: links, commands."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

FENCE = re.compile(r"^```(\{?[\w-]*\}?)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Everything that users read, in order."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return [body for name, body in FENCE.findall(text) if name == language]


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one."""
    (_, below) = text.split(f"\n## {heading}\n")
    return below.split("\n## ")[0]


def lines_of(block: str) -> list[str]:
    """The commands of a block, each on one line."""
    joined = block.replace("\\\n", "")  # as a shell does
    return [line for line in joined.strip().splitlines() if line and not line.startswith("#")]


def inline_code(text: str) -> list[str]:
    """What stands between backticks, outside blocks."""
    return [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", FENCE.sub("", text))]


def links(text: str) -> list[str]:
    """Targets of links and pictures, outside blocks."""
    return re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
