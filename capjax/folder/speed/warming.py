"""Compiles what a run will need, before it: --warm-up."""

import math
from collections.abc import Sequence

import numpy as np

from capjax.api import padded_rows
from capjax.captioner import Captioner
from capjax.data.pictures.given import Picture
from capjax.explainers.batch import explain_memory
from capjax.explainers.targets import Questions
from capjax.explainers.wording import TOKEN_BUCKET, Sizes, bucket, padded_sizes
from capjax.folder.pipeline.folder_run import FolderRun


def warm_up(run: FolderRun, files: Sequence[str]) -> None:
    """Makes the programs ready that a run without results so far needs; reads no image.

    Programs for sentences of every length are compiled ahead of time. Then each size of batch is
    explained once, of black images: what else is compiled, is compiled by that.

    Args:
      run: that explains.
      files: of the run.

    Raises:
      TooLargeError: what `FolderRun.at_once` raises.
    """
    if not files:
        return
    size = run.at_once(files, run.methods)
    batches = [files[start : start + size] for start in range(0, len(files), size)]
    ends = {padded_rows(len(batch), size): batch for batch in (batches[0], batches[-1])}
    for rows, own in ends.items():
        for sizes in sorted(_sizes(run, batches, rows, size)):
            explain_memory(
                run.captioner,
                rows,
                methods=run.methods,
                decoding=run.decoding,
                max_len=run.max_len,
                usable=math.inf,
                sizes=sizes,
                captioned=run.reranker is not None,
                contrasts=bool(run.queries.questions.contrasts),
                language=run.queries.language,
            )
        black = _black(run.captioner)
        run.explain_batch(dict.fromkeys(own, black), run.methods, size)


def _sizes(run: FolderRun, batches: Sequence[Sequence[str]], rows: int, size: int) -> set[Sizes]:
    """Those of the sentences of batches of so many rows."""
    queries = run.queries
    if not queries.texts and queries.captions is None:
        return caption_sizes(run.max_len, queries.questions)
    alike = [batch for batch in batches if padded_rows(len(batch), size) == rows]
    if queries.captions is None:
        alike = alike[:1]
    return {
        padded_sizes([queries.sentences(run.captioner, file) for file in batch]) for batch in alike
    }


def caption_sizes(max_len: int, questions: Questions) -> set[Sizes]:
    """All that captions of up to so many tokens may be padded to.

    Args:
      max_len: most tokens.
      questions: what is explained of a caption beside its words.
    """
    more = len(questions.keywords) + len(questions.contrasts) + questions.sentence
    return {
        Sizes(1, targets, width)
        for width in range(TOKEN_BUCKET, bucket(max_len) + 1, TOKEN_BUCKET)
        for targets in range(width, bucket(min(width, max_len) + more) + 1, TOKEN_BUCKET)
    }


def _black(captioner: Captioner) -> Picture:
    """An image, or a clip, as the encoder wants it."""
    height, width = captioner.preprocessing.size
    frames = captioner.preprocessing.frames
    pixels = np.zeros((*((frames,) if frames else ()), height, width, 3), np.uint8)
    return Picture(pixels, (height, width), pixels, np.arange(float(frames)) if frames else None)
