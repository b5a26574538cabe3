"""Files of the Hugging Face hub, by "hf:owner/name[@revision][/file]", through its own cache."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from capjax.weights.formats.safetensors_file import shards_of

SCHEME = "hf:"
_SPEC = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>[^@]+))?", re.ASCII
)
INDEX = ".index.json"
WEIGHT_FILES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""What is looked for, in this order, where no file is named."""


@dataclasses.dataclass(frozen=True)
class HubSpec:
    """What a "hf:…" names.

    Attributes:
      repo: "owner/name".
      revision: branch, tag or commit; None: the branch "main".
      file: path inside the repository; None: its weights, see `WEIGHT_FILES`.
    """

    repo: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repo}{revision}" + (f"/{self.file}" if self.file else "")

    def at(self, revision: str) -> "HubSpec":
        """The same, of one revision: further files are then of the same commit."""
        return dataclasses.replace(self, revision=revision)


@dataclasses.dataclass(frozen=True)
class HubFile(os.PathLike[str]):
    """A file of the hub on this machine; usable wherever a path is.

    Attributes:
      path: in the cache; other files of the same commit that were fetched lie beside it.
      repo: "owner/name".
      revision: the commit it is of, 40 hexadecimal digits.
      file: its path inside the repository.
    """

    path: pathlib.Path
    repo: str
    revision: str
    file: str

    def __fspath__(self) -> str:
        return str(self.path)

    @functools.cached_property
    def sha256(self) -> str:
        """Digest of the content."""
        return sha256_of(self.path)

    @property
    def spec(self) -> str:
        """The pinned address, which always gives this very file."""
        return str(HubSpec(self.repo, self.revision, self.file))

    def described(self) -> dict[str, str]:
        """Plain values for a record of where weights come from."""
        return {"source": self.spec, "sha256": self.sha256}


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
            "hf:timm/resnet50.tv_in1k or hf:timm/resnet50.tv_in1k@main/model.safetensors"
        )
    return HubSpec(match["repo"], match["revision"], match["file"])


def hub_file(spec: str | HubSpec, filename: str | None = None) -> HubFile:
    """A file of the hub, from the cache or fetched into it.

    The cache is huggingface_hub's (HF_HUB_CACHE or HF_HOME/hub). With HF_HUB_OFFLINE=1 nothing is
    fetched. A commit that is in the cache is used without asking the hub.

    Args:
      spec: "hf:owner/name[@revision][/file]".
      filename: of another file of the same repository and revision.

    Returns:
      The file; for an index of shards, all its shards lie beside it.

    Raises:
      ImportError: huggingface_hub is not installed.
      FileNotFoundError: there is no such repository, revision or file, or the hub cannot be
        reached; the text says which file to put where.
      ValueError: `spec` has another form.
    """
    named = parse_hub(spec) if isinstance(spec, str) else spec
    if filename is not None:
        named = dataclasses.replace(named, file=filename)
    wanted = (named.file,) if named.file else WEIGHT_FILES
    failure: Exception | None = None
    for name in wanted:
        try:
            found = _fetch(named, name)
        except _entry_errors() as error:
            failure = failure if _is_unreachable(failure) else error
            continue
        for shard in _shards(found):
            hub_file(named.at(found.revision), shard)
        return found
    raise FileNotFoundError(_what_to_do(named, wanted, failure)) from failure


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Digest of a file's content, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(named: HubSpec, name: str) -> HubFile:
    hub = _library()
    cache = cache_folder()
    try:
        place = hub.hf_hub_download(
            named.repo,
            name,
            revision=named.revision,
            cache_dir=cache,
            local_files_only=_is_offline(),
        )
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError) as error:
        raise FileNotFoundError(
            f"the hub has no {named.repo} at revision {named.revision or 'main'}, or keeps it "
            "private; check the name, or log in with `hf auth login`"
        ) from error
    except hub.errors.HFValidationError as error:
        raise ValueError(f"got {str(named)!r}: {error}") from error
    path = pathlib.Path(place)
    snapshots = cache / _folder(named.repo) / "snapshots"
    return HubFile(path, named.repo, path.relative_to(snapshots).parts[0], name)


def _shards(found: HubFile) -> Iterator[str]:
    """Paths inside the repository of the shards that an index names."""
    if found.file.endswith(INDEX):
        folder = pathlib.PurePosixPath(found.file).parent
        yield from (str(folder / shard) for shard in shards_of(found.path))


def cache_folder() -> pathlib.Path:
    """Where huggingface_hub keeps files, by the environment of this moment."""
    if os.environ.get("HF_HUB_CACHE"):
        return pathlib.Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if os.environ.get("HF_HOME"):
        return pathlib.Path(os.environ["HF_HOME"]).expanduser() / "hub"
    return pathlib.Path(_library().constants.HF_HUB_CACHE)


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true")


def _folder(repo: str) -> str:
    return "models--" + repo.replace("/", "--")


def _what_to_do(named: HubSpec, wanted: Sequence[str], failure: Exception | None) -> str:
    revision = named.revision or "main"
    title = f"{named.repo} (revision {revision})"
    if not _is_unreachable(failure):
        return f"the hub has no {' or '.join(wanted)} in {title}; name one: hf:{named.repo}/FILE"
    reason = "HF_HUB_OFFLINE is set" if _is_offline() else "the hub cannot be reached"
    at = f" --revision {named.revision}" if named.revision else ""
    return (
        f"no {' or '.join(wanted)} of {title} in the cache, and {reason}; either\n"
        f"  with a network: hf download {named.repo} {wanted[0]}{at}, and copy the folder\n"
        f"    {_folder(named.repo)} of that machine's cache into {cache_folder()}\n"
        f"  or get https://huggingface.co/{named.repo}/resolve/{revision}/{wanted[0]} in any way, "
        f"and give the file's path in place of {named}"
    )


def _entry_errors() -> tuple[type[Exception], ...]:
    errors = _library().errors
    return (errors.EntryNotFoundError, errors.LocalEntryNotFoundError)


def _is_unreachable(failure: Exception | None) -> bool:
    return isinstance(failure, _library().errors.LocalEntryNotFoundError)


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        raise ImportError(
            'files of the hub need huggingface_hub: pip install "capjax[hub]"'
        ) from error
    return huggingface_hub
