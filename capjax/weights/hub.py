"""Files of the Hugging Face hub, by "hf:owner/name[@revision][/file]", through its own cache."""

import dataclasses
import functools
import json
import logging
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from capjax.runtime.fingerprint import sha256_of
from capjax.weights.formats.safetensors_file import shards_of
from capjax.weights.hub_address import HubSpec, parse_hub

_COMMIT = re.compile("[0-9a-f]{40}")
INDEX = ".index.json"
WEIGHT_FILES = (
    "model.safetensors",
    f"model.safetensors{INDEX}",
    "pytorch_model.bin",
    f"pytorch_model.bin{INDEX}",
)
"""What is looked for, in this order, where no file is named."""


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


class AbsentError(FileNotFoundError):
    """A repository that is known not to hold a file."""


class UnreachableError(FileNotFoundError):
    """A file that is not in the cache while the hub cannot be asked: it may exist."""


class Repository:
    """The files of one commit of the hub, from the cache or fetched into it.

    Once the hub is found not to answer, it is not asked again: each try would wait for long.

    Attributes:
      spec: the address; after the first file, that of one commit.
      answered: whether the hub was asked and answered.
      local: the cache is all there is, by HF_HUB_OFFLINE or because the hub does not answer.
    """

    def __init__(self, spec: HubSpec, *, folder: str = "") -> None:
        """Names a repository; nothing is read yet.

        Args:
          spec: what it names; a file in it is left out.
          folder: what a folder must hold that can be given in place of the repository, for
            errors; "" where one file is enough.
        """
        self.spec = dataclasses.replace(spec, file=None)
        self.folder = folder
        self.answered = False
        self.local = _is_offline()
        self._refusal: Exception | None = None  # why the hub was taken not to answer

    def file(self, name: str) -> HubFile:
        """A file by its path inside the repository; its commit is that of all later ones.

        Raises:
          ImportError, ValueError: as in `hub_file`.
          AbsentError: there is no such file.
          UnreachableError: it is not in the cache, and the hub cannot be reached.
          FileNotFoundError: there is no such repository or revision.
        """
        place = self._cached(name)
        if place is None and self._can_ask(name):
            place = self._download(name)
        place = place or self._cached(name)
        if place is None:
            raise self._unreachable([name]) from self._refusal
        path = pathlib.Path(place)
        snapshots = cache_folder() / _folder(self.spec.repo) / "snapshots"
        commit = path.relative_to(snapshots).parts[0]
        self.spec = self.spec.at(commit)
        return HubFile(path, self.spec.repo, commit, name)

    def first(self, names: Sequence[str]) -> HubFile:
        """The first file that there is; errors as in `file`, of all the names."""
        unreachable = False
        for name in names:
            try:
                return self.file(name)
            except AbsentError:
                continue
            except UnreachableError:
                unreachable = True
        if unreachable:
            raise self._unreachable(names) from self._refusal
        raise self._absent(names)

    def _cached(self, name: str) -> str | None:
        """A file of a commit that is in the cache; of a branch only where nothing can be asked."""
        hub, named = _library(), self.spec
        if not self.local and not _COMMIT.fullmatch(named.revision or ""):
            return None
        found = hub.try_to_load_from_cache(
            named.repo, name, cache_dir=cache_folder(), revision=named.revision
        )
        if found is hub._CACHED_NO_EXIST or (found is None and self._is_unlisted(name)):
            raise self._absent([name])
        return found

    def _is_unlisted(self, name: str) -> bool:
        """Whether the list of files that `hf download` keeps of a commit lacks a file."""
        folder = cache_folder() / _folder(self.spec.repo)
        reference = folder / "refs" / (self.spec.revision or "main")
        commit = reference.read_text() if reference.is_file() else self.spec.revision
        try:
            listed = json.loads((folder / "trees" / f"{commit}.json").read_text("utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return False  # an older huggingface_hub keeps none
        return name not in listed

    def _can_ask(self, name: str) -> bool:
        """Whether the hub answers; it is asked once, where a download would try for long."""
        if self.local or self.answered:
            return not self.local
        hub, named = _library(), self.spec
        try:
            hub.get_hf_file_metadata(hub.hf_hub_url(named.repo, name, revision=named.revision))
        except (
            hub.errors.EntryNotFoundError,
            hub.errors.RepositoryNotFoundError,
            hub.errors.RevisionNotFoundError,
        ):
            pass  # an answer too; the download says what it means
        except (OSError, hub.errors.HTTPError) as error:
            self.local, self._refusal = True, error
            logging.getLogger(__name__).warning(
                "%s is looked for in the cache alone: the hub cannot be asked (%s)",
                *(_title(named), _first_line(error)),
            )
        self.answered = not self.local
        return self.answered

    def _download(self, name: str) -> str:
        hub, named = _library(), self.spec
        errors = hub.errors
        try:
            return hub.hf_hub_download(
                named.repo, name, revision=named.revision, cache_dir=cache_folder()
            )
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise FileNotFoundError(
                f"the hub has no {named.repo} at revision {named.revision or 'main'}, or keeps it "
                "private; check the name, or log in with `hf auth login`"
            ) from error
        except errors.LocalEntryNotFoundError as error:
            self._refusal = error
            raise self._unreachable([name]) from error
        except errors.EntryNotFoundError as error:
            raise self._absent([name]) from error
        except errors.HTTPError as error:  # of the hub, or of the connection to it
            self._refusal = error
            raise self._unreachable([name]) from error
        except errors.HFValidationError as error:
            raise ValueError(f"got {str(named)!r}: {error}") from error

    def _absent(self, names: Sequence[str]) -> AbsentError:
        remedy = (
            f"a model needs {self.folder}" if self.folder else f"name one: hf:{self.spec.repo}/FILE"
        )
        return AbsentError(f"the hub has no {' or '.join(names)} in {_title(self.spec)}; {remedy}")

    def _unreachable(self, names: Sequence[str]) -> UnreachableError:
        named, revision = self.spec, self.spec.revision or "main"
        at = f" --revision {named.revision}" if named.revision else ""
        url = f"https://huggingface.co/{named.repo}"
        one, other = (
            (f" {names[0]}", f"{url}/resolve/{revision}/{names[0]} in any way, and give the file's")
            if not self.folder
            else ("", f"from {url}/tree/{revision} {self.folder}, and give their folder's")
        )
        return UnreachableError(
            f"no {' or '.join(names)} of {_title(named)} in the cache, and {self._why()}; either\n"
            f"  with a network: hf download {named.repo}{one}{at}, and copy the folder\n"
            f"    {_folder(named.repo)} of that machine's cache into {cache_folder()}\n"
            f"  or get {other} path in place of {named}"
        )

    def _why(self) -> str:
        if self._refusal is None:
            return "HF_HUB_OFFLINE is set"
        return (
            f"the hub cannot be asked ({_first_line(self._refusal)}; where it never can, set "
            "HF_HUB_OFFLINE=1, and nothing waits)"
        )


def hub_file(spec: str | HubSpec) -> HubFile:
    """A file of the hub, from the cache or fetched into it.

    The cache is huggingface_hub's (HF_HUB_CACHE or HF_HOME/hub). With HF_HUB_OFFLINE=1 nothing is
    fetched. A commit that is in the cache is used without asking the hub.

    Args:
      spec: "hf:owner/name[@revision][/file]".

    Returns:
      The file; for an index of shards, all its shards lie beside it.

    Raises:
      ImportError: huggingface_hub is not installed.
      FileNotFoundError: there is no such repository, revision or file, or the hub cannot be
        reached; the text says which file to put where.
      ValueError: `spec` has another form.
    """
    named = parse_hub(spec) if isinstance(spec, str) else spec
    return with_shards(Repository(named), (named.file,) if named.file else WEIGHT_FILES)


def with_shards(repository: Repository, names: Sequence[str]) -> HubFile:
    """The first file of a repository that there is; of an index, with all its shards."""
    found = repository.first(names)
    for shard in _shards(found):
        repository.file(shard)
    return found


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


def _title(named: HubSpec) -> str:
    return f"{named.repo} (revision {named.revision or 'main'})"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


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
