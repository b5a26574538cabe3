"""GloVe vectors as the first embeddings of a run, and how many of its words they know."""

from pathlib import Path

import jax
import numpy as np
import tqdm

from capjax.config import ExperimentConfig
from capjax.data.sources.datasets import FILES, data_root, expected_files
from capjax.text.glove import read_glove
from capjax.text.protocol import Text
from capjax.text.vocabulary import Vocabulary


def glove_path(name: str, root: str | Path | None) -> Path:
    """The file that `data.glove` names.

    A relative name is looked up as it is, then in `glove/` below the data root, or beside the
    dataset's folder where `root` is one.

    Raises:
      FileNotFoundError: it is in none of these places; says what to fetch and from where.
    """
    given, base = Path(name).expanduser(), data_root(root)
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
    """[V E] `initial` with the rows of the words that the file of `data.glove` has.

    The first process says how many these are.

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
