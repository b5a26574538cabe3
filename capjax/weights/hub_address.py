"""Addresses of the Hugging Face hub: "hf:owner/name[@revision][/file]"."""

import dataclasses
import re
from typing import Any

SCHEME = "hf:"
_SPEC = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+?)"
    r"(?:@(?P<revision>refs/[\w.-]+/[\w.-]+|[\w.-]+(?:%2F[\w.-]+)*))?"
    r"(?:/(?P<file>[^@]+))?",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class HubSpec:
    """What a "hf:…" names.

    Attributes:
      repo: "owner/name".
      revision: branch, tag, commit or "refs/pr/N"; None: the branch "main". In an address, a "/" of
        a branch's name is written %2F.
      file: path inside the repository; None: its weights, see `capjax.weights.hub.WEIGHT_FILES`.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        named = self.revision or ""
        named = named if named.startswith("refs/") else named.replace("/", "%2F")
        revision = f"@{named}" if named else ""
        return f"{SCHEME}{self.repo}{revision}" + (f"/{self.file}" if self.file else "")

    def at(self, revision: str) -> "HubSpec":
        """The same, of one revision: further files are then of the same commit."""
        return dataclasses.replace(self, revision=revision)


def is_hub(name: Any) -> bool:
    """Whether a name means the hub, and not a file."""
    return str(name).startswith(SCHEME)


def parse_hub(spec: str) -> HubSpec:
    """The parts of "hf:owner/name[@revision][/file]".

    Raises:
      ValueError: it has another form.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or {"..", "."} & {*re.split(r"[/@]", spec.removeprefix(SCHEME))}:
        raise ValueError(
            f"got {spec!r}; expected hf:owner/name, and perhaps @revision and /file, as in "
            "hf:timm/resnet50.tv_in1k or hf:timm/resnet50.tv_in1k@main/model.safetensors (a / in "
            "the name of a branch is written %2F)"
        )
    revision = match["revision"]
    return HubSpec(match["repo"], revision and revision.replace("%2F", "/"), match["file"])
