"""How many images of a folder are explained at once, by what fits into memory."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

from capjax.api import padded_rows
from capjax.captioner import Captioner
from capjax.decoding import Decoding
from capjax.explainers.batch import explain_memory
from capjax.explainers.choosing import Chosen
from capjax.explainers.wording import padded_sizes
from capjax.folder.queries import Queries
from capjax.runtime.memory import AUTO, Memory, fit_batch
from capjax.studies.doubt.doubter import Kept
from capjax.studies.doubt.signals import signals_memory


def images_at_once(
    captioner: Captioner,
    asked: int | Literal["auto"],
    memory: Memory,
    *,
    queries: Queries,
    files: Sequence[str],
    methods: Sequence[Chosen],
    decoding: Decoding,
    max_len: int,
    captioned: bool,
    tell: Callable[[str], None],
    kept: Kept | None = None,
) -> int:
    """Images, or clips, of a batch; none of its programs has run yet.

    Args:
      captioner, methods, decoding, max_len: of the run.
      asked: --batch-size.
      memory: of each device.
      queries: what is asked about each image.
      files: the images.
      captioned: captions are known from an earlier run.
      tell: takes a sentence on what "auto" chose.
      kept: what was fitted, where captions are doubted.

    Raises:
      TooLargeError: so many, or not even one, do not fit.
    """
    sentences = [queries.sentences(captioner, file) for file in files]
    count, noun = len(files), captioner.noun
    explain = functools.partial(
        explain_memory,
        captioner,
        methods=methods,
        decoding=decoding,
        max_len=max_len,
        usable=memory.usable,
        sizes=padded_sizes(sentences) if any(sentences) else None,
        captioned=captioned,
        contrasts=bool(queries.questions.contrasts),
        language=queries.language,
    )

    def need(rows: int) -> float:
        explaining = explain(rows, overlapped=rows < count)
        if kept is None:
            return explaining
        doubting = signals_memory(
            captioner,
            rows,
            max_len=max_len,
            usable=memory.usable,
            samples=kept.samples,
            signals=kept.doubter.signals,
        )
        return max(explaining, doubting)

    if asked == AUTO:
        return fit_batch(asked, count, need, memory, noun=noun, tell=tell)
    size = captioner.at_once(asked)
    fit_batch(padded_rows(count, size), count, need, memory, noun=noun, tell=tell)
    return size
