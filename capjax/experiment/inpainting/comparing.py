"""An inpainter beside other fills, in the very holes that its run validates on."""

from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np

from capjax.config.inpainting import InpaintingConfig, build_players
from capjax.data.inpainting.examples import load_pictures
from capjax.experiment.inpainting.scoring import HOLES_KEY, NAMES
from capjax.inpaint.fills.contract import Fill
from capjax.metrics.intervals import bootstrap_intervals
from capjax.metrics.pictures.restoration import restoration
from capjax.ops.devices import pad_rows
from capjax.rng import stream
from capjax.runtime.text_table import format_table

Scores = Mapping[str, Mapping[str, np.ndarray]]
"""Fill -> score -> one value a picture."""


def compared(config: InpaintingConfig, fills: Mapping[str, Fill], count: int = 0) -> Scores:
    """Scores of every fill inside the holes of the validation pictures of a run.

    Holes are those of `capjax.experiment.inpainting.scoring`: of scenes, objects.

    Args:
      config: of the run, resolved.
      fills: by name.
      count: how many of the first pictures, 0 for all.
    """
    validation, rows = load_pictures(config.data).validation, config.evaluation.batch_size
    prepare = jax.jit(build_players(config).prepare)
    key = stream(jax.random.key(HOLES_KEY), "validation")
    total = min(count, len(validation)) if count else len(validation)
    found: dict[str, dict[str, list[np.ndarray]]] = {
        name: {score: [] for score in NAMES} for name in fills
    }
    for start in range(0, total, rows):
        numbers = np.arange(start, min(start + rows, total), dtype=np.int32)
        batch = {**validation.parts(numbers), "position": numbers}
        # The last batch is padded, so that each program is compiled once.
        padded = {name: pad_rows(array, None, least=rows) for name, array in batch.items()}
        masks = np.asarray(prepare(padded, key)["mask"][..., 0] > 0.5)
        for name, fill in fills.items():
            filled = fill(padded["image"], masks)
            scores = restoration(padded["image"], filled, masks)
            for score, field in NAMES.items():
                found[name][score].append(np.asarray(getattr(scores, field))[: len(numbers)])
    return {
        name: {score: np.concatenate(values) for score, values in own.items()}
        for name, own in found.items()
    }


def format_compared(scores: Scores) -> str:
    """A table of means with 95 % intervals over pictures."""
    rows: list[Sequence[str]] = [["fill", *NAMES]]
    for name, own in scores.items():
        pictures: Iterable[int] = range(len(own["PSNR"]))
        ends = bootstrap_intervals(np.stack(list(own.values())), list(pictures))
        rows.append(
            [
                name,
                *(
                    f"{values.mean():.4f} [{low:.4f}, {high:.4f}]"
                    for values, (low, high) in zip(own.values(), ends, strict=True)
                ),
            ]
        )
    return format_table(rows)
