"""The files of one model as transformers keeps them: in a folder, or of one commit of the hub."""

import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from capjax.runtime.fingerprint import sha256_of
from capjax.weights.hub import (
    WEIGHT_FILES,
    AbsentError,
    Repository,
    UnreachableError,
    with_shards,
)
from capjax.weights.hub_address import is_hub, parse_hub


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """The files of one model.

    Attributes:
      origin: what errors and cards call it.
      get: finds the first of some files that exists. Raises FileNotFoundError where there is none,
        and its subclass `AbsentError` where that is certain.
      repository: where they are of the hub.
      used: sha256 of each file that was read, by its name.
    """

    origin: str
    get: Callable[[Sequence[str]], os.PathLike[str]]
    repository: Repository | None = None
    used: dict[str, str] = dataclasses.field(default_factory=dict)

    def need(self, name: str) -> pathlib.Path:
        """A file that must be there."""
        path = pathlib.Path(self.get([name]))
        self.used[name] = sha256_of(path)
        return path

    def has(self, name: str) -> bool:
        """Whether there is a file in whose place another may stand."""
        try:
            self.get([name])
        except (AbsentError, UnreachableError):
            return False
        return True

    def find(self, name: str) -> pathlib.Path | None:
        """A file of settings that a model may do without.

        Without a hub to ask, a cache does not always tell a file that was never fetched from one
        that does not exist; then the log says what was assumed.

        Raises:
          FileNotFoundError: the hub answered before and does not now.
        """
        try:
            return self.need(name)
        except AbsentError:
            return None
        except UnreachableError:
            if self.repository is None or self.repository.answered:
                raise
        logging.getLogger(__name__).warning(
            "%s: %s is not in the cache and the hub cannot be asked; it is taken not to exist. "
            "Fetch the whole repository once (hf download %s) to be sure",
            *(self.origin, name, self.repository.spec.repo),
        )
        return None

    def weights(self, base: str = "") -> os.PathLike[str]:
        """The first of `WEIGHT_FILES` that there is, in a folder of the model."""
        path = self.get([base + name for name in WEIGHT_FILES])
        self.used[pathlib.Path(path).name] = sha256_of(path)
        return path


def model_files(source: str | os.PathLike[str], *, first: Sequence[str], needed: str) -> ModelFiles:
    """The files of a model.

    Args:
      source: a folder, or "hf:owner/name[@revision]".
      first: files of which every such model has one; the hub's commit is that of this one.
      needed: what a folder must hold, for errors.

    Raises:
      FileNotFoundError: there is no such folder or repository.
      ImportError: huggingface_hub is not installed.
      ValueError: the name has another form, or names one file.
    """
    if not is_hub(source):
        return _of_folder(pathlib.Path(source), needed)
    spec = parse_hub(str(source))
    if spec.file is not None:
        raise ValueError(f"got {source!r}; a model is a whole repository: leave out /{spec.file}")
    repository = Repository(spec, folder=needed)
    repository.first(first)
    return ModelFiles(
        str(repository.spec), lambda names: with_shards(repository, names), repository
    )


def read_json(path: str | os.PathLike[str], kind: type = dict) -> Any:
    """What a JSON file holds.

    Raises:
      ValueError: it is damaged or holds another kind of value than `kind`.
    """
    try:
        found = json.loads(pathlib.Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"cannot read {os.fspath(path)} as JSON ({error}); it is damaged: fetch it again"
        ) from error
    if not isinstance(found, kind):
        raise ValueError(
            f"{os.fspath(path)} holds a {type(found).__name__}; expected a {kind.__name__}"
        )
    return found


def _of_folder(folder: pathlib.Path, needed: str) -> ModelFiles:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; expected one with {needed}, or hf:owner/name"
        )

    def get(names: Sequence[str]) -> pathlib.Path:
        for name in names:
            if (folder / name).is_file():
                return folder / name
        raise AbsentError(f"{folder} holds no {' or '.join(names)}; a model needs {needed}")

    return ModelFiles(os.fspath(folder), get)
