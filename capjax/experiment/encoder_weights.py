"""Where an encoder's pretrained weights are: a file, a captioner, or the hub."""

import pathlib

from capjax.captioner import captioner_folder, shipped_models
from capjax.config import ExperimentConfig
from capjax.weights.hub import HubFile, hub_file, sha256_of
from capjax.weights.hub_address import is_hub


def weights_path(config: ExperimentConfig) -> pathlib.Path | HubFile | None:
    """The encoder's weights file or captioner's folder, or None for random initialisation.

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
        return hub_file(config.encoder.weights)
    given = pathlib.Path(config.encoder.weights).expanduser()
    root = pathlib.Path(config.data.root).absolute()
    places = [given, root.parent / "weights" / given, root.parent.parent / "weights" / given]
    for place in places:
        if place.is_file():
            return place
    folder = captioner_folder(given)
    if folder is not None:
        return folder
    raise FileNotFoundError(
        f"no weights {config.encoder.weights!r} for encoder {config.encoder.name!r}; looked for\n"
        + "\n".join(f"  {place}" for place in dict.fromkeys(places))
        + f"\nor a captioner: a training workdir, or one of: {', '.join(shipped_models())}"
        + "\nput the file there, or pass --config.encoder.weights=FILE"
    )


def described_weights(path: pathlib.Path | HubFile, name: str) -> dict[str, str]:
    """Where weights are from, with the sha256 of their file."""
    if isinstance(path, HubFile):
        return path.described()
    return {"source": name} if path.is_dir() else {"source": name, "sha256": sha256_of(path)}
