"""What can be asked of a picture, as values: equal ones are answered in one batch.

A study becomes another dataclass here, with `quick` and `run`; the worker knows nothing of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capjax.api import explain, pad_batch
from capjax.captioner import Captioner
from capjax.decoding import Decoding
from capjax.decoding.captions import candidate_batch
from capjax.explainers.programs import Watch
from capjax.explainers.request import Measure
from capjax.serve.records import caption_record, maps_record, view
from capjax.serve.uploads import Upload


@dataclasses.dataclass(frozen=True, eq=False)
class Served:
    """The captioner of a server, and how it is asked.

    Attributes:
      name: what people call it.
      captioner: of images.
      decoding, max_len: how captions are written.
      doubt: whether it says which words not to believe.
      batch: pictures at once.
    """

    name: str
    captioner: Captioner
    decoding: Decoding
    max_len: int
    doubt: bool
    batch: int


@dataclasses.dataclass(frozen=True)
class Captions:
    """The caption of each picture, and the others that the search ended with."""

    quick = True

    def run(self, model: Served, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        ready = [upload.prepared for upload in uploads]
        images = pad_batch(ready, model.captioner.at_once(model.batch))
        _, found = candidate_batch(
            model.captioner, images, decoding=model.decoding, max_len=model.max_len
        )
        return [
            caption_record(upload, candidates)
            for upload, candidates in zip(uploads, found[: len(uploads)], strict=True)
        ]


@dataclasses.dataclass(frozen=True)
class Maps:
    """Maps of the words of each picture's caption, or of sentences.

    Attributes:
      methods: their names.
      queries: sentences to explain instead of the caption.
      contrasts, keywords, whole_sentence, measure, linguistic: as of `capjax.explain`.
      viewed: whether the answer has the page's view of it too.
    """

    methods: tuple[str, ...]
    queries: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    whole_sentence: bool = False
    measure: Measure | None = None
    linguistic: tuple[str, ...] = ()
    viewed: bool = False

    quick = False

    def run(self, model: Served, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        found = explain(
            model.captioner,
            [upload.stream() for upload in uploads],
            methods=self.methods,
            query=self.queries or None,
            contrast=self.contrasts or None,
            keyword=self.keywords or None,
            whole_sentence=self.whole_sentence,
            measure=self.measure,
            linguistic=self.linguistic,
            decoding=model.decoding,
            max_len=model.max_len,
            batch_size=model.batch,
            doubt=model.doubt,
            watch=watch,
        )
        each = len(self.queries) or 1
        answers = []
        for number, upload in enumerate(uploads):
            own = found[number * each : (number + 1) * each]
            shown = {"view": view(upload, own)} if self.viewed else {}
            answers.append(maps_record(upload, own) | shown)
        return answers
