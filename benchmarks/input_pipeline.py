"""Images a second of the input pipeline, against a PyTorch DataLoader with Pillow.

    python benchmarks/input_pipeline.py [--images=FOLDER] [--rounds=5] [--save]

Photographs of a folder, enlarged or reduced to 640x480 and saved as JPEGs of quality 90 (whose
mean size is reported), become batches of 64: decoded, resized to 224x224 (bilinear, antialiased),
with the tokens of a caption each, shuffled. Both sides load in up to as many threads or worker
processes as there are cores, each in every form, and the fastest form counts:

    dataloader               capjax from a folder, resizer "simd" / DataLoader
    dataloader_array_record  the same photographs from ArrayRecord files / DataLoader
    dataloader_pillow        capjax from a folder, resized by Pillow / DataLoader
    dataloader_half          capjax from a folder, "simd" / DataLoader with `Image.draft`, which
                             decodes at half the size: less work, other pixels

All but the last see the same pixels: those of "simd" are checked to be at most 1 of 255 away from
Pillow's. The peer's captions are tokenised and padded beforehand, its tensors stay as Pillow lays
them out, and it computes in one thread a process: all in its favour.

The share of time that the device waits is measured on updates of the soft-attention captioner with
a frozen MobileNet on the device at hand, from images and from cached features. Needs the extras
`fast`, `tfds` and `parity` (torch). Measure on an idle machine.
"""

from __future__ import annotations

import csv
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from PIL import Image
from protocol import argument_parser, report
from torch.utils.data import DataLoader, Dataset

from capjax.config import DataConfig, ExperimentConfig, decoder_section, encoder_section
from capjax.config import experiment as settings
from capjax.data.batches.loading import Loading
from capjax.data.batches.pipeline import CaptionSamples, Inputs, training_batches
from capjax.data.captions.splits import Draw
from capjax.data.inputs import EncodedImages, ImageInputs, file_inputs, resized_by
from capjax.data.sources.datasets import data_root, read_dataset
from capjax.experiment.building import build_experiment
from capjax.runtime import process
from capjax.text.vocabulary import Vocabulary
from capjax.train import sharding
from capjax.train.plan import LoopConfig
from capjax.train.throughput import Meter, Rates
from capjax.types import Preprocessing

SIZE, JPEG, QUALITY, BATCH, LENGTH = (224, 224), (640, 480), 90, 64, 25
PREPROCESSING = Preprocessing(SIZE)
WARM, BATCHES, UPDATES = 6, 20, 12
VALIDATION = 32
WORDS = "a man on the street rides his old red bicycle past some tall trees and two dogs".split()


Start = Callable[[], Iterator[Any]]


def make_photographs(source: Path, root: Path, count: int) -> None:
    """A dataset of 640x480 JPEGs, in the layout of Flickr8k, with drawn captions."""
    images = root / "flickr8k" / "images"
    images.mkdir(parents=True)
    found = sorted(source.rglob("*.jpg"))
    draw = np.random.default_rng(0)
    with (root / "flickr8k" / "captions.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("image", "caption", "split"))
        made = 0
        for path in found:
            with Image.open(path) as picture:
                if picture.width < picture.height:
                    continue  # it would be stretched
                large = picture.convert("RGB").resize(JPEG, Image.Resampling.BICUBIC)
            large.save(images / f"{made}.jpg", quality=QUALITY)
            words = " ".join(draw.choice(WORDS, draw.integers(6, 16)))
            rows.writerow((f"{made}.jpg", words, "val" if made < VALIDATION else "train"))
            made += 1
            if made == count + VALIDATION:
                return
    raise ValueError(f"{source} has {made} landscape JPEGs; {count + VALIDATION} are needed")


class Photographs(Dataset):
    """The peer: what a PyTorch user writes, tokens ready."""

    def __init__(
        self, paths: list[str], rows: np.ndarray, tokens: np.ndarray, *, half: bool
    ) -> None:
        self.paths, self.rows, self.half = paths, rows, half
        self.tokens = torch.from_numpy(tokens)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        with Image.open(self.paths[self.rows[index]]) as picture:
            if self.half:
                picture.draft("RGB", SIZE)
            small = picture.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(small)), self.tokens[index]


def peer_batches(photographs: Photographs, workers: int) -> Iterator[Any]:
    """Endless shuffled batches."""
    loader = DataLoader(
        photographs,
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        persistent_workers=bool(workers),
    )
    while True:
        yield from loader


def images_per_second(start: Start) -> float:
    """Of a stream in its stride: what starts it, and what it holds ready at first, is left out."""
    stream = start()
    for _ in range(WARM):
        next(stream)
    begin = time.perf_counter()
    for _ in range(BATCHES):
        next(stream)
    seconds = time.perf_counter() - begin
    stream.close()
    return BATCH * BATCHES / seconds


def check_pixels(exact: Inputs, other: Inputs, count: int) -> float:
    """The mean difference of two inputs; raises ValueError if any value is more than 1 away."""
    numbers = np.arange(count)
    one, two = (inputs(numbers)["image"].astype(int) for inputs in (exact, other))
    if np.abs(one - two).max() > 1:
        raise ValueError(f"pixels differ by {np.abs(one - two).max()} of 255; expected 1 at most")
    return float(np.abs(one - two).mean())


def array_records(root: Path) -> Any:
    """The training split, written by the TFDS builder and read back without decoding."""
    import tensorflow_datasets as tfds

    from capjax.data.builders.images import Captions, CaptionsConfig

    config = CaptionsConfig(name="benchmark", dataset="flickr8k", root=str(root))
    builder = Captions(config=config, data_dir=root / "prepared")
    builder.download_and_prepare()
    skip = {"image": tfds.decode.SkipDecoding()}
    return builder.as_data_source(split="train", decoders=skip)


def candidates(root: Path, cores: int) -> tuple[dict[tuple[str, str], Start], float]:
    """Every (kind, form) of both sides, and the difference of pixels between the resizers."""
    train = read_dataset("flickr8k", root).divided(Draw()).select("train")
    captions = [record.captions for record in train]
    vocabulary = Vocabulary.build(caption for own in captions for caption in own)
    samples = CaptionSamples.build(captions, vocabulary, max_length=LENGTH)
    pillow = file_inputs(train, PREPROCESSING)
    simd = resized_by("simd", pillow)
    record = ImageInputs(EncodedImages(array_records(root), PREPROCESSING, resizer="simd"))
    difference = check_pixels(pillow, simd, 64)
    ways = [Loading(threads=threads) for threads in (1, cores, 2 * cores)]
    ways += [Loading(workers=workers, threads=1) for workers in range(1, cores + 1)]
    found: dict[tuple[str, str], Start] = {}
    for name, inputs in (("folder", simd), ("array_record", record), ("pillow", pillow)):
        for way in ways:
            form = f"workers_{way.workers}" if way.workers else f"threads_{way.threads}"
            start = functools.partial(
                training_batches, samples, inputs, batch_size=BATCH, seed=0, loading=way
            )
            found[name, form] = start
    numbers = np.arange(len(samples))
    tokens = samples.padded(numbers, width=LENGTH, pad=0)
    paths = [str(record.image) for record in train]
    for name, half in (("dataloader", False), ("dataloader_half", True)):
        photographs = Photographs(paths, samples.image, tokens, half=half)
        for workers in range(cores + 1):
            start = functools.partial(peer_batches, photographs, workers)
            found[name, f"workers_{workers}"] = start
    return found, difference


def waiting_share(root: Path, *, cached: bool) -> float:
    """Share of the time of some updates in which the device has no batch to work on."""
    config = settings.resolve(
        ExperimentConfig(
            encoder=encoder_section("mobilenet"),
            decoder=decoder_section("attention_lstm"),
            data=DataConfig(
                root=str(root), threshold=1, cache_features=cached, keep_megabytes=0, resizer="simd"
            ),
            train=LoopConfig(batch_size=BATCH, progress=False),
        )
    )
    experiment = build_experiment(config, root / "features")
    step, state = experiment.train_step(), experiment.initial_state()
    stream = experiment.batches()(0)
    meter = Meter(step, examples=BATCH)
    costs: list[Any] = []
    for update in range(2 * UPDATES):
        if update == UPDATES:  # the shapes that come are compiled, mostly
            jax.block_until_ready(state)
            costs, begin = [], time.perf_counter()
        asked = time.perf_counter()
        batch = sharding.place_batch(next(stream), experiment.mesh)
        costs.append(meter.cost(state, batch, since=asked))
        state, values = step(state, batch)
        meter.watch(values)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - begin
    stream.close()
    meter.close()
    return Rates(jax.devices()).of(costs, seconds)["data_wait"]


def main() -> None:
    """Times every form in turn and reports the fastest of each kind."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", help="a folder of photographs; default: the shared COCO's")
    parser.add_argument("--count", type=int, default=640, help="photographs of an epoch")
    arguments = parser.parse_args()
    source = Path(arguments.images) if arguments.images else Path(data_root("")) / "coco" / "images"
    cores = process.cores()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_photographs(source, root, arguments.count)
        sizes = [path.stat().st_size for path in root.glob("flickr8k/images/*.jpg")]
        found, difference = candidates(root, cores)
        rates: dict[tuple[str, str], list[float]] = {name: [] for name in found}
        for _ in range(arguments.rounds):
            for name, start in found.items():
                rates[name].append(images_per_second(start))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        for (kind, form), value in medians.items():
            print(f"{kind} {form}: {value / cores:.0f} images a second and core", flush=True)
        waits = {
            f"device_waits_{name}_share": waiting_share(root, cached=cached)
            for name, cached in (("images", False), ("cached", True))
        }
    best: dict[str, float] = {}
    for (kind, _), value in medians.items():
        best[kind] = max(best.get(kind, 0.0), value)
    report(
        "input_pipeline",
        ratios={
            "dataloader": best["folder"] / best["dataloader"],
            "dataloader_array_record": best["array_record"] / best["dataloader"],
            "dataloader_pillow": best["pillow"] / best["dataloader"],
            "dataloader_half": best["folder"] / best["dataloader_half"],
        },
        figures={
            **{f"{kind}_images_per_s_and_core": value / cores for kind, value in best.items()},
            **waits,
            "jpeg_kilobytes": statistics.mean(sizes) / 1e3,
            "pixel_difference_of_255": difference,
        },
        save=arguments.save,
    )


if __name__ == "__main__":
    main()
