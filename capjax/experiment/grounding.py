"""What the training images show: where words point, and which classes are there at all."""

from pathlib import Path

from absl import logging

from capjax.config import DataConfig, ExperimentConfig
from capjax.data.batches.pipeline import CaptionSamples
from capjax.data.boxes.grounded import BoxSource, EntitySource, Source, check_source
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import ObjectWords, read_object_words
from capjax.data.cache.feature_cache import Rendered
from capjax.data.captions.records import Record
from capjax.data.object_cells import Grounding, ObjectCells, RecordGrounding, SceneGrounding
from capjax.data.scenes.still import Scenes
from capjax.experiment.data import Split
from capjax.experiment.model import Model
from capjax.text.protocol import Text


def object_cells(
    config: ExperimentConfig, train: Split, model: Model, text: Text, samples: CaptionSamples
) -> ObjectCells | None:
    """The cells of the training captions' words; None where the loss does not ask for them.

    Args:
      config: settings.
      train: the training images and captions.
      model: what sees them.
      text: words of the captioner.
      samples: the captions.

    Raises:
      FileNotFoundError: no file or folder at `data.boxes`.
      ValueError: nothing says where things are, a damaged file, or boxes of other pictures.
    """
    if not config.loss.lambda_supervised:
        return None
    grounding = _grounding(config.data, train)
    return ObjectCells(samples, train.captions, grounding, text, model.preprocessing, model.grid)


def shown_classes(
    config: ExperimentConfig, train: Split
) -> tuple[ObjectWords, list[frozenset[str] | None]] | None:
    """Which words name which class, and the classes that each training image shows.

    By CHAIR's rule an image shows what its boxes have and what its captions name. An image that the
    boxes do not know has None. None altogether where no reward asks for it.

    Args:
      config: settings.
      train: the training images and captions.

    Raises:
      FileNotFoundError: no file at `data.boxes`.
      ValueError: nothing says what the images show, a damaged file, or boxes of other pictures.
    """
    if not config.self_critical.hallucination_penalty:
        return None
    setting = "self_critical.hallucination_penalty"
    if config.data.name == "scenes":
        raise ValueError(
            f"{setting} reads boxes of photographs, and data.name is 'scenes'; set it to 0"
        )
    records, source = _boxed(config.data, train, setting)
    if not isinstance(source, BoxSource):
        raise ValueError(
            f"{setting} needs the classes of objects, which Flickr30k Entities do not name; set "
            "data.boxes to a COCO instances JSON, or the penalty to 0"
        )
    known = [source.size(record) is not None for record in records]
    shown = [
        source.classes(record) if here else None
        for record, here in zip(records, known, strict=True)
    ]
    return source.words, shown


def _grounding(config: DataConfig, train: Split) -> Grounding:
    if config.name == "scenes":
        return SceneGrounding(Scenes(train.name, len(train)))
    return RecordGrounding(*_boxed(config, train, "loss.lambda_supervised"))


def _boxed(config: DataConfig, train: Split, setting: str) -> tuple[list[Record], Source]:
    """The training images, and what says where things are in them."""
    if not config.boxes or config.frames or isinstance(train.records[0], Rendered):
        raise ValueError(
            f"{setting} needs to know what is where in the training images: set data.boxes to "
            "their COCO instances JSON (loss.lambda_supervised also takes the folder of Flickr30k "
            f"Entities; of clips nothing is known), or {setting} to 0"
        )
    given = Path(config.boxes).expanduser()
    path = given if given.exists() else Path(config.root) / given
    if not path.exists():
        raise FileNotFoundError(
            f"no boxes at {given}, nor at {path}; set data.boxes to the COCO instances JSON of the "
            "training images, or to the folder of Flickr30k Entities"
        )
    source: Source = EntitySource(path) if path.is_dir() else _instances(path)
    records = [record for record in train.records if isinstance(record, Record)]
    check_source(source, records, lambda note: logging.warning("data.boxes: %s", note))
    return records, source


def _instances(path: Path) -> BoxSource:
    images = read_instances(path)
    for line in images.left_out:
        logging.warning("%s: left out: %s", path.name, line)
    classes = {item.category for image in images.values() for item in image.instances}
    return BoxSource(images, read_object_words().including(classes))
