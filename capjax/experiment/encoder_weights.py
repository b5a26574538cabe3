"""Where an encoder's pretrained weights are: a file, a captioner, or the hub."""

import os
import pathlib

from capjax.captioner import captioner_folder, shipped_models
from capjax.config import ExperimentConfig
from capjax.weights.encoders import weight_file
from capjax.weights.hub import WEIGHT_FILES, HubFile, sha256_of
from capjax.weights.hub_address import is_hub
from capjax.weights.parts import split_part


def weights_path(config: ExperimentConfig) -> str | os.PathLike[str] | None:
    """The encoder's weights file, its "FILE#PART", a trainer's or a captioner's folder; None for
    random initialisation.

    An address of the hub is fetched or found in its cache. A relative name is looked up as it is,
    then in `weights/` beside the folder of the datasets, then among the captioners that come with
    capjax.

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
