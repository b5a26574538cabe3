"""The datasets capjax knows: where they come from, what they need, where their files belong."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from capjax.data.captions.merging import merged
from capjax.data.captions.records import CaptionSet, require_images
from capjax.data.sources.sources import read_captions

ROOT_VARIABLE = "CAPJAX_DATA"


@dataclasses.dataclass(frozen=True)
class Layout:
    """One way the files of a dataset may lie in its folder.

    Attributes:
      parts: (caption file, image folder) pairs, relative to the dataset's folder.
      lists: split → list file, for token files.
      others: files that are read with a caption file because they lie beside it.
    """

    parts: tuple[tuple[str, str], ...]
    lists: Mapping[str, str] = dataclasses.field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Every file needed besides the images."""
        return (*(captions for captions, _ in self.parts), *self.lists.values(), *self.others)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Facts about one dataset.

    Attributes:
      title: what it is, in a phrase.
      folder: its folder's name below the data root.
      source: where to get it.
      licence: what may be done with it.
      layouts: accepted layouts, the preferred one first.
      clips: whether its pictures are clips.
    """

    title: str
    folder: str
    source: tuple[str, ...]
    licence: str
    layouts: tuple[Layout, ...]
    clips: bool = False


_FLICKR_LICENCE = (
    "photographs belong to their Flickr users: non-commercial research and education, no "
    "redistribution"
)
_KARPATHY = (
    "captions with Karpathy's splits: "
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
)

DATASETS: dict[str, Dataset] = {
    "flickr8k": Dataset(
        title="8,091 photographs with five captions each (Hodosh et al. 2013)",
        folder="flickr8k",
        source=(
            "photographs, token file and split lists: "
            "https://github.com/jbrownlee/Datasets/releases/tag/Flickr8k",
            _KARPATHY,
            "table of captions: https://www.kaggle.com/datasets/adityajn105/flickr8k",
        ),
        licence=_FLICKR_LICENCE,
        layouts=(
            Layout(parts=(("dataset_flickr8k.json", "images"),)),
            Layout(
                parts=(("Flickr8k.token.txt", "images"),),
                lists={
                    "train": "Flickr_8k.trainImages.txt",
                    "val": "Flickr_8k.devImages.txt",
                    "test": "Flickr_8k.testImages.txt",
                },
            ),
            Layout(parts=(("captions.txt", "Images"),)),
            Layout(parts=(("captions.csv", "images"),)),
        ),
    ),
    "flickr30k": Dataset(
        title="31,783 photographs with five captions each (Young et al. 2014)",
        folder="flickr30k",
        source=("photographs: https://shannon.cs.illinois.edu/DenotationGraph/", _KARPATHY),
        licence=_FLICKR_LICENCE,
        layouts=(
            Layout(parts=(("dataset_flickr30k.json", "images"),)),
            Layout(parts=(("results_20130124.token", "images"),)),
        ),
    ),
    "coco": Dataset(
        title="123,287 photographs of COCO 2014, five to seven captions each (Lin et al. 2014)",
        folder="coco",
        source=(
            "photographs: http://images.cocodataset.org/zips/train2014.zip and val2014.zip",
            _KARPATHY,
            "captions: http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
        ),
        licence="captions CC BY 4.0; each photograph has its own licence, Flickr terms of use",
        layouts=(
            Layout(parts=(("dataset_coco.json", "."),)),
            Layout(
                parts=(
                    ("annotations/captions_train2014.json", "train2014"),
                    ("annotations/captions_val2014.json", "val2014"),
                )
            ),
        ),
    ),
    "coco_shared": Dataset(
        title="a subset of COCO val2017 whose longest side is 256 px, in Karpathy's splits",
        folder="coco",
        source=(
            "photographs: http://images.cocodataset.org/zips/val2017.zip, resized",
            "captions: "
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, divided into "
            "Karpathy's restval (train) and val images",
        ),
        licence="captions CC BY 4.0; each photograph has its own licence: research only",
        layouts=(
            Layout(
                parts=(
                    ("annotations/captions_train.json", "images"),
                    ("annotations/captions_val.json", "images"),
                )
            ),
        ),
    ),
    "ucm": Dataset(
        title="2,100 aerial photographs, 21 land uses, five captions each (Qu et al. 2016)",
        folder="ucm",
        source=(
            "https://github.com/201528014227051/RSICD_optimal (UCM-captions), "
            "imagery: http://weegee.vision.ucmerced.edu/datasets/landuse.html",
        ),
        licence="imagery USGS, public domain; captions for research",
        layouts=(
            Layout(parts=(("dataset_ucm.json", "images"),)),
            Layout(parts=(("dataset.json", "imgs"),)),
        ),
    ),
    "msvd": Dataset(
        title="1,970 clips of YouTube videos, about 40 sentences each (Chen and Dolan 2011)",
        folder="msvd",
        source=(
            "clips: https://www.cs.utexas.edu/users/ml/clamp/videoDescription/YouTubeClips.tar",
            "sentences: "
            "https://github.com/jazzsaxmafia/video_to_sequence/files/387979/video_corpus.csv.zip",
            "order of the clips, which makes the splits: youtube_mapping.txt of MSVD-QA, "
            "https://github.com/xudejing/video-question-answering",
        ),
        licence="sentences for research; clips belong to their owners on YouTube",
        layouts=(
            Layout(parts=(("video_corpus.csv", "YouTubeClips"),), others=("youtube_mapping.txt",)),
        ),
        clips=True,
    ),
    "msrvtt": Dataset(
        title="10,000 clips of web videos, 20 sentences each (Xu et al. 2016)",
        folder="msrvtt",
        source=(
            "sentences and clips of the 2016 challenge: "
            "http://ms-multimedia-challenge.com/2016/dataset",
            "one file of all sentences, MSRVTT_data.json: https://github.com/ArrowLuo/CLIP4Clip",
        ),
        licence="for research; clips belong to their owners",
        layouts=(
            Layout(
                parts=(
                    ("train_val_videodatainfo.json", "TrainValVideo"),
                    ("test_videodatainfo.json", "TestVideo"),
                )
            ),
            Layout(parts=(("MSRVTT_data.json", "videos"),)),
        ),
        clips=True,
    ),
}


@dataclasses.dataclass(frozen=True)
class Files:
    """Facts about files that go with datasets; the fields are those of `Dataset`.

    Attributes:
      files: one tuple of names a choice; all names of a tuple are needed.
      read_by: the setting or flag that reads them.
    """

    title: str
    folder: str
    source: tuple[str, ...]
    licence: str
    files: tuple[tuple[str, ...], ...]
    read_by: str


FILES: dict[str, Files] = {
    "glove": Files(
        title="GloVe word vectors trained on 6 billion words (Pennington et al. 2014)",
        folder="glove",
        source=("https://nlp.stanford.edu/data/glove.6B.zip",),
        licence="Public Domain Dedication and License 1.0",
        files=tuple((f"glove.6B.{dimension}d.txt",) for dimension in (50, 100, 200, 300)),
        read_by="--config.data.glove=glove.6B.100d.txt",
    ),
    "coco_instances": Files(
        title="boxes and outlines of 80 classes on the photographs of COCO (Lin et al. 2014)",
        folder="coco",
        source=(
            "2014: http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
            "2017: http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
        ),
        licence="CC BY 4.0",
        files=tuple(
            (f"annotations/instances_train{year}.json", f"annotations/instances_val{year}.json")
            for year in (2014, 2017)
        ),
        read_by="--config.data.boxes=coco/annotations/instances_train2014.json, evaluate --boxes",
    ),
    "flickr30k_entities": Files(
        title="276,000 boxes for the phrases of Flickr30k's captions (Plummer et al. 2015)",
        folder="flickr30k_entities",
        source=("https://github.com/BryanPlummer/flickr30k_entities (annotations.zip)",),
        licence="annotations for research; photographs as those of flickr30k",
        files=(("Sentences/", "Annotations/"),),
        read_by="--config.data.boxes=flickr30k_entities, evaluate --entities",
    ),
    "celeba": Files(
        title="202,599 faces with 40 attributes each, no captions (Liu et al. 2015)",
        folder="celeba",
        source=("https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",),
        licence="non-commercial research, no redistribution",
        files=(
            ("img_align_celeba/", "list_eval_partition.txt"),
            ("img_align_celeba/", "list_eval_partition.csv"),
        ),
        read_by="train.py --config=configs/inpaint.py --config.data.name=celeba, explain.py "
        "--images=celeba/img_align_celeba",
    ),
    "places365": Files(
        title="1,803,460 photographs of 365 kinds of places, no captions (Zhou et al. 2017)",
        folder="places365",
        source=(
            "http://places2.csail.mit.edu/download.html: places365standard_easyformat.tar (whose "
            "folder is places365_standard), or train_large_places365standard.tar and val_large.tar",
        ),
        licence="non-commercial research and education; photographs belong to their owners",
        files=(("train/", "val/"), ("data_large/", "val_large/"), ("data_256/", "val_256/")),
        read_by="train.py --config=configs/inpaint.py --config.data.name=places365",
    ),
}


def data_root(configured: str | Path | None = None) -> Path:
    """The folder datasets lie in: as configured, else $CAPJAX_DATA, else `data/`."""
    return Path(configured or os.environ.get(ROOT_VARIABLE) or "data")


def find_dataset(name: str, root: str | Path | None = None) -> tuple[Path, Layout]:
    """The folder of a dataset and the layout found there.

    Args:
      name: a key of `DATASETS`.
      root: the data root (see `data_root`) or the dataset's own folder.

    Raises:
      ValueError: unknown name.
      FileNotFoundError: none of its layouts is there; says what is missing and where to get it.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; choose one of: {', '.join(DATASETS)}")
    dataset, base = DATASETS[name], data_root(root)
    folders = (base / dataset.folder, base)
    for folder in folders:
        for layout in dataset.layouts:
            if all((folder / file).is_file() for file in layout.files):
                return folder, layout
    raise FileNotFoundError(
        f"dataset {name!r} is not at {folders[0]}; expected there\n"
        + "\n".join(f"  {line}" for line in expected_files(dataset))
        + "\nfetch\n"
        + "\n".join(f"  {line}" for line in dataset.source)
        + f"\nthen pass its data root (or folder), or set ${ROOT_VARIABLE}"
    )


def read_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    split: str | None = None,
    check_images: bool = True,
) -> CaptionSet:
    """The records of a known dataset, or of one of its splits.

    A copy without splits, such as the table of Flickr8k on Kaggle, has `UNSPLIT` records.
    Errors are those of `find_dataset` and `read_captions`.
    """
    folder, layout = find_dataset(name, root)
    lists = {split_name: folder / file for split_name, file in layout.lists.items()}
    parts = [
        read_captions(
            folder / captions, folder / images, split_lists=lists or None, check_images=False
        )
        for captions, images in layout.parts
    ]
    found = merged(parts, [captions for captions, _ in layout.parts])
    found = found if split in (None, "all") else found.select(split)
    if check_images:
        require_images(found)
    return found


def expected_files(described: Dataset | Files) -> list[str]:
    """One line for each accepted layout: its files below the dataset's folder."""
    if isinstance(described, Files):
        return _alternatives(
            " + ".join(f"{described.folder}/{name}" for name in names) for names in described.files
        )
    lines = []
    for layout in described.layouts:
        folders = dict.fromkeys(images for _, images in layout.parts)
        names = (*layout.files, *(f"{folder}/" for folder in folders if folder != "."))
        if "." in folders:
            names += ("train2014/", "val2014/")
        lines.append(" + ".join(f"{described.folder}/{name}" for name in names))
    return _alternatives(lines)


def _alternatives(lines: Iterable[str]) -> list[str]:
    return [line if i == 0 else f"or {line}" for i, line in enumerate(lines)]
