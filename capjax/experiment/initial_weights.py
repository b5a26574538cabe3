"""Where a run's first weights are from: an encoder's file or captioner, and GloVe vectors."""

import os
import pathlib

import jax
import numpy as np
import tqdm

from capjax.captioner import captioner_folder, shipped_models
from capjax.config import ExperimentConfig
from capjax.data.sources.datasets import FILES, data_root, expected_files
from capjax.runtime.fingerprint import sha256_of
from capjax.text.glove import read_glove
from capjax.text.protocol import Text
from capjax.text.vocabulary import Vocabulary
from capjax.weights.encoders import weight_file
from capjax.weights.hub import WEIGHT_FILES, HubFile
from capjax.weights.hub_address import is_hub
from capjax.weights.parts import split_part


def weights_path(config: ExperimentConfig) -> str | os.PathLike[str] | None:
    """Finds what `encoder.weights` names; None where it is empty: random initialisation.

    An address of the hub is fetched or found in its cache. A relative name is looked up as it is,
    then in `weights/` beside the folder of the datasets, then among the captioners that come with
    capjax.

    Returns:
      A weights file, "FILE#PART", or the folder of a trainer or of a captioner.

    Raises:
      FileNotFoundError: it is in none of these places; the text lists them.
      ValueError: an address of the hub has another form.
    """
    if not config.encoder.weights:
        return None
    if is_hub(config.encoder.weights):
        return weight_file(config.encoder.weights)
    given = pathlib.Path(config.encoder.weights).expanduser()
    root = pathlib.Path(config.data.root).absolute()
    places = [given, root.parent / "weights" / given, root.parent.parent / "weights" / given]
    for place in places:
        file = pathlib.Path(split_part(place)[0])
        if file.is_file() or any((file / name).is_file() for name in WEIGHT_FILES):
            return weight_file(place)
    folder = captioner_folder(given)
    if folder is not None:
        return folder
    raise FileNotFoundError(
        f"no weights {config.encoder.weights!r} for encoder {config.encoder.name!r}; looked for\n"
        + "\n".join(f"  {place}" for place in dict.fromkeys(places))
        + f"\nor a captioner: a training workdir, or one of: {', '.join(shipped_models())}"
        + "\nput the file there, or pass --config.encoder.weights=FILE"
    )


def described_weights(path: str | os.PathLike[str], name: str) -> dict[str, str]:
    """Where weights are from, with the sha256 of their file."""
    if isinstance(path, HubFile):
        return path.described()
    file = split_part(path)[0]
    return {"source": name} if os.path.isdir(file) else {"source": name, "sha256": sha256_of(file)}


def glove_path(name: str, root: str | pathlib.Path | None) -> pathlib.Path:
    """Finds the file that `data.glove` names.

    A relative name is looked up as it is, then in `glove/` below the data root, or beside the
    dataset's folder where `root` is one.

    Raises:
      FileNotFoundError: it is in none of these places; the text says what to fetch and where.
    """
    given, base = pathlib.Path(name).expanduser(), data_root(root)
    folders = (base / FILES["glove"].folder, base.absolute().parent / FILES["glove"].folder)
    places = [given, *(folder / given for folder in folders)]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no word vectors {name!r} (data.glove); looked for\n"
        + "\n".join(f"  {place}" for place in dict.fromkeys(places))
        + "\nexpected below the data root\n"
        + "\n".join(f"  {line}" for line in expected_files(FILES["glove"]))
        + "\nfetch and unpack\n"
        + "\n".join(f"  {line}" for line in FILES["glove"].source)
        + "\nor pass --config.data.glove=FILE, or --config.data.glove= for random embeddings"
    )


def glove_rows(config: ExperimentConfig, text: Text, initial: np.ndarray) -> np.ndarray:
    """Replaces rows of `initial` [V E] by the vectors that the file of `data.glove` has.

    The first process tells the user how many words it has.

    Raises:
      FileNotFoundError: see `glove_path`.
      ValueError: a captioner that writes pieces of words, or see `read_glove`.
    """
    if not isinstance(text, Vocabulary):
        raise ValueError(
            f"data.glove has vectors of words, and {config.init_from} writes pieces of words; "
            "leave data.glove empty"
        )
    path = glove_path(config.data.glove, config.data.root)
    glove = read_glove(path, text, initial=initial)
    if config.train.progress and jax.process_index() == 0:
        count = glove.found + len(glove.missing)
        tqdm.tqdm.write(f"{glove.found} of {count} words have a GloVe vector ({path.name})")
    return glove.matrix
