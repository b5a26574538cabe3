"""The settings of what an experiment learns from."""

import dataclasses
from pathlib import PurePath

from capjax.data.captions.splits import Draw
from capjax.data.pictures.resizers import check_resize, check_resizer


@dataclasses.dataclass
class DataConfig:
    """What is learnt from.

    Attributes:
      name: a dataset of `python -m capjax.data where`, or one that is rendered without files (say
        how many with `train_images` and `validation_images`): "scenes", "moving_scenes" (clips) or
        "moving_frames" (single frames of those clips), or "tfds:FOLDER", what the builders of
        `capjax.data.builders` have prepared there, absolute or below `root`.
      captions: instead, a caption file of your own, several with commas, or a pattern: whatever
        `python -m capjax.data check` reads. `name` is then the names of these files.
      images: folder of its images or clips; empty: `images` or `clips` beside it, or where it is.
      val_captions: captions to validate on, where they are in other files.
      val_share, test_share: shares of the images that are held out for validation and for tests
        where no splits are stated, drawn by their names. Where only a validation split is missing,
        `val_share` of the training images is held out.
      split_seed: another one draws others.
      root: folder of the datasets, or the dataset's own; empty: `$CAPJAX_DATA`, else `data/`.
      train_split, validation_split: names of the splits.
      train_images, validation_images: use only the first so many, 0 for all; of rendered data, how
        many to render.
      threshold: a word enters the vocabulary when it occurs so often in the training captions.
      cap: largest vocabulary, 0 for no limit; the most frequent words stay.
      frequency_bias: start the output layer's bias at the log frequencies of the words, end token
        included, in the training captions: the first updates need not learn what is common.
      max_length: tokens of a caption, end token included; longer ones are cut.
      boxes: where the objects of the training images are, for `loss.lambda_supervised` and
        `self_critical.hallucination_penalty`: COCO instances JSON of the same file names, or, for
        the first, the folder of Flickr30k Entities; absolute or below `root`. Scenes know theirs.
      glove: text file of GloVe vectors that initialise the decoder's embeddings: absolute, or in
        `glove/` below `root` (`python -m capjax.data where glove`); empty: none.
      image_size: side in pixels that the encoder sees; 0: the encoder's default.
      resize: how pictures get that size, always: "squash" both sides, or "crop" the middle after
        resizing the shorter side to `shorter`; empty: the encoder's default.
      shorter: side in pixels before "crop"; 0: 256 where the encoder sees 224, in that proportion.
      frames: of clips, how many frames the captioner sees of each, evenly spread; 0 for images.
      group_by_length: make batches of captions of about one length: less padding, faster.
      cache_features: compute a frozen encoder's features once and read them back.
      cache_frame_means: cache one descriptor a frame, the mean over its positions (a clip of 26
        frames of ResNet-50: 0.1 MB instead of 5): only for decoders that read whole frames, which
        see no difference. A trained model makes maps of all positions all the same.
      cache: folder of feature caches, which runs may share; empty: in the workdir.
      keep_megabytes: prepared images kept in memory, in each process.
      workers: processes that load data; 0 loads in threads.
      resizer: of training images that are decoded anew in every epoch (no cached features):
        "pillow", or "simd" (extra "fast"), which halves the time with decoding; bilinear filters
        only, values at most 1 of 255 away. What is cached, measured or explained is Pillow's.
      wrong_words: of scenes, share of the training captions that may name a shape which is not
        there and do (`capjax.data.scenes.habits`): a captioner that is meant to hallucinate.
      unreadable_share: share of the training images that may be impossible to decode. Another
        caption of the batch replaces theirs, and a warning names the file; more end the run.
    """

    name: str = "flickr8k"
    captions: str = ""
    images: str = ""
    val_captions: str = ""
    val_share: float = 0.1
    test_share: float = 0.1
    split_seed: int = 0
    root: str = ""
    train_split: str = "train"
    validation_split: str = "val"
    train_images: int = 0
    validation_images: int = 0
    threshold: int = 5
    cap: int = 10_000
    frequency_bias: bool = False
    max_length: int = 25
    boxes: str = ""
    glove: str = ""
    image_size: int = 0
    resize: str = ""
    shorter: int = 0
    frames: int = 0
    group_by_length: bool = False
    cache_features: bool = True
    cache_frame_means: bool = False
    cache: str = ""
    keep_megabytes: int = 512
    workers: int = 0
    resizer: str = "pillow"
    wrong_words: float = 0.0
    unreadable_share: float = 0.001

    def check(self) -> None:
        """Raises ValueError for values without meaning, or without effect."""
        check_resizer(self.resizer)
        check_resize(self.resize, self.shorter)
        Draw(self.val_share, self.test_share, self.split_seed)
        least_of = {"max_length": 2, "threshold": 1, "frames": 0, "shorter": 0, "workers": 0}
        counts = ("train_images", "validation_images", "cap", "image_size", "keep_megabytes")
        least_of |= dict.fromkeys(counts, 0)
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ValueError(f"data.{name} is {getattr(self, name)}; expected {least} or more")
        if not 0 <= self.unreadable_share < 1:
            raise ValueError(
                f"data.unreadable_share is {self.unreadable_share}; expected 0 or more, below 1"
            )
        if not 0 <= self.wrong_words <= 1:
            raise ValueError(f"data.wrong_words is {self.wrong_words}; expected a share, 0 to 1")
        if self.wrong_words and self.name != "scenes":
            raise ValueError(
                f"data.wrong_words changes captions of scenes, and data.name is {self.name!r}"
            )
        if not self.captions:
            for name in ("images", "val_captions"):
                if getattr(self, name):
                    raise ValueError(
                        f"data.{name} goes with data.captions, which is empty; set it too"
                    )
        default = DataConfig()
        for name in ("val_share", "test_share", "split_seed"):
            if self.val_captions and getattr(self, name) != getattr(default, name):
                raise ValueError(f"data.{name} draws splits, and data.val_captions states them")

    def name_captions(self) -> None:
        """Sets `name` to the names of the files in `captions`, where there are any."""
        if self.captions:
            self.name = ", ".join(PurePath(path).name for path in self.captions.split(","))
