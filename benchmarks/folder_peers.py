"""Photographs a second of explain.py, against PyTorch with Captum and PyTorch batched by hand.

    python benchmarks/folder_peers.py --images=FOLDER [--model=photographs] [--count=320]
        [--batched=64] [--alone=2] [--batch-size=16] [--rounds=3] [--save]

One set of weights, the same photographs, the same caption-guided maps and Grad-CAM of every word,
from files to maps on disk (.npz, an image each):

    capjax          the real command in a process of its own over --count photographs, with
                    --methods=attention,caption_guided,gradcam: images a second while it explains,
                    the line of `explain_folder.py`. Strips are off, as PyTorch's sides draw none,
                    and so is visual information, which they do not compute
    captum          what people do today (`torch_folder.py`), on the first --alone photographs:
                    read, encode, beam search, then for each word FeatureAblation over the
                    positions, each shown alone, and LayerGradCam. Captum's default: one position
                    at a time
    captum_at_once  the same with perturbations_per_eval = all positions
    batched         both methods and the beam batched by hand, on the first --batched photographs,
                    which threads read ahead; Grad-CAM's gradients word by word and vectorised, the
                    faster counts

Ratios are seconds of the peer an image over those of capjax, medians of the rounds, in which all
take their turn. Goals: captum at least 10, batched at least 1.5. Before anything is timed, outputs
are compared: nothing is timed unless all captions are equal and no value of a map is further than
1e-3 of the map's largest from capjax's. PyTorch and Captum come with the extra `parity`.
"""

from __future__ import annotations

import concurrent.futures
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from explain_folder import explain, line, photographs
from protocol import argument_parser, report
from torch_counterfactual import TorchCaptioner
from torch_folder import Batched, Captum, Told

import capjax
from capjax.data.pictures.images import load_prepared
from capjax.decoding.rules import default_decoding
from capjax.types import Preprocessing

METHODS = ("caption_guided", "gradcam")
TOLERANCE = 1e-3
"""Of a map's largest value."""


def one_by_one(
    tell: Captum, files: Sequence[Path], preprocessing: Preprocessing, out: Path
) -> list[Told]:
    """Photographs one after the other."""
    found = []
    for file in files:
        found.append(tell(load_prepared(file, preprocessing)[0]))
        save(found[-1], out / f"{file.stem}.npz")
    return found


def in_batches(
    tell: Batched, files: Sequence[Path], preprocessing: Preprocessing, out: Path, size: int
) -> list[Told]:
    """Photographs batch by batch; threads read the next one meanwhile, and write the last."""
    found: list[Told] = []
    with concurrent.futures.ThreadPoolExecutor(max(2, len(os.sched_getaffinity(0)))) as threads:

        def pending(at: int) -> Iterator[np.ndarray]:
            own = files[at : at + size]
            return threads.map(lambda file: load_prepared(file, preprocessing)[0], own)

        ready = pending(0)
        for at in range(0, len(files), size):
            pixels = np.stack(list(ready))
            ready = pending(at + size)
            told = tell(pixels)
            for one, file in zip(told, files[at : at + size], strict=True):
                threads.submit(save, one, out / f"{file.stem}.npz")
            found += told
    return found


def save(told: Told, path: Path) -> None:
    """Maps on disk, as capjax keeps them."""
    np.savez(path, caption_guided=told.caption_guided, gradcam=told.gradcam)


def compare(name: str, found: Sequence[Told], files: Sequence[Path], out: Path) -> float:
    """How far the peer's maps are from capjax's, of a map's largest value; raises if too far."""
    results = {result.file: result for result in capjax.open_results(out)}
    furthest = 0.0
    for told, file in zip(found, files, strict=True):
        result = results[file.name]
        tokens = list(result.answers[0].tokens)
        if tokens != told.tokens:
            raise ValueError(f"{name} says {told.tokens} of {file.name}, capjax {tokens}")
        for method in METHODS:
            own = result[method]
            starts = [start for start, _ in own.word_spans]
            theirs = getattr(told, method)[starts]
            ours = own.maps.reshape(theirs.shape)
            away = np.abs(theirs - ours).max(1) / np.abs(ours).max(1)
            if not away.max() < TOLERANCE:
                raise ValueError(
                    f"{name} has other maps of {method} of {file.name} than capjax: "
                    f"{away.max():.1e} of the largest value away"
                )
            furthest = max(furthest, float(away.max()))
    print(f"{name}: captions of {len(files)} equal, maps {furthest:.1e} away at most", flush=True)
    return furthest


def main() -> None:
    """Compares, times in turn and reports."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", default="photographs", help="a captioner of photographs")
    parser.add_argument("--images", required=True, help="a folder")
    parser.add_argument("--count", type=int, default=320, help="photographs of capjax")
    parser.add_argument("--batched", type=int, default=64, help="of them, those batched by hand")
    parser.add_argument("--alone", type=int, default=2, help="of them, those that Captum explains")
    parser.add_argument("--batch-size", type=int, default=16, help="photographs at once")
    parser.set_defaults(rounds=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="captum")
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    captioner = capjax.load(options.model)
    model = TorchCaptioner(captioner, *default_decoding(captioner))
    preprocessing, places = captioner.preprocessing, int(np.prod(captioner.grid))
    with tempfile.TemporaryDirectory() as folder:
        own, maps = Path(folder) / "photographs", Path(folder) / "maps"
        maps.mkdir()
        photographs(Path(options.images), options.count, own)
        files = sorted(own.iterdir())
        many, few = files[: options.batched], files[: options.alone]
        command = [sys.executable, "explain.py", f"--model={options.model}", f"--images={own}"]
        command += [f"--methods=attention,{','.join(METHODS)}", "--no-overlays"]
        command += ["--no-visual-information", f"--batch-size={options.batch_size}"]

        def seconds(round_: int) -> float:
            out = Path(folder) / f"out{round_}"
            return 1 / line(explain([*command, f"--out={out}"], out)[1])[0]

        def alone(at_once: int) -> Callable[[], list[Told]]:
            tell = Captum(model, at_once)
            return lambda: one_by_one(tell, few, preprocessing, maps)

        def batched(vectorised: bool) -> Callable[[], list[Told]]:
            tell = Batched(model, vectorised)
            return lambda: in_batches(tell, many, preprocessing, maps, options.batch_size)

        peers = {
            "captum": (alone(1), few),
            "captum_at_once": (alone(places), few),
            "batched_word_by_word": (batched(False), many),
            "batched_vectorised": (batched(True), many),
        }
        seconds(0)
        away = max(
            compare(name, call(), given, Path(folder) / "out0")
            for name, (call, given) in peers.items()
        )
        taken: dict[str, list[float]] = {name: [] for name in ("capjax", *peers)}
        for number in range(1, options.rounds + 1):
            taken["capjax"].append(seconds(number))
            for name, (call, given) in peers.items():
                begin = time.perf_counter()
                call()
                taken[name].append((time.perf_counter() - begin) / len(given))
            print({name: round(own[-1], 4) for name, own in taken.items()}, flush=True)
    each = {name: statistics.median(own) for name, own in taken.items()}
    best = min(value for name, value in each.items() if name.startswith("batched"))
    report(
        "folder_peers",
        ratios={
            "captum": each["captum"] / each["capjax"],
            "captum_at_once": each["captum_at_once"] / each["capjax"],
            "batched": best / each["capjax"],
        },
        figures={
            "images": options.count,
            "images_per_s": 1 / each["capjax"],
            **{f"{name}_s_per_image": value for name, value in each.items()},
            "furthest_of_largest": away,
        },
        save=options.save,
    )


if __name__ == "__main__":
    main()
