"""What can be asked of a picture, as values: equal ones are answered in one batch.

A study becomes another dataclass here, with `quick` and `run`; the worker knows nothing of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capjax.api import explain, pad_batch, padded_rows
from capjax.captioner import Captioner
from capjax.decoding import Decoding
from capjax.decoding.captions import candidate_batch
from capjax.explainers.programs import Watch
from capjax.explainers.request import Measure
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Wording
from capjax.serve.programs import Programs
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
      programs: what is compiled.
    """

    name: str
    captioner: Captioner
    decoding: Decoding
    max_len: int
    doubt: bool
    batch: int
    programs: Programs = dataclasses.field(default_factory=Programs)


@dataclasses.dataclass(frozen=True)
class Captions:
    """The caption of each picture, and the others that the search ended with."""

    quick = True

    def run(self, model: Served, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        ready = [upload.picture.prepared for upload in uploads]
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

    def check(self, captioner: Captioner, most: int) -> None:
        """Judges what can be judged without a picture.

        Args:
          captioner: that is asked.
          most: tokens of a sentence and targets of it, beyond which programs would be compiled for
            this request alone.

        Raises:
          ValueError: a sentence is too long, or asks too much; or it has no words to explain.
        """
        questions = Questions.of(
            captioner.text,
            keywords=self.keywords,
            contrasts=self.contrasts,
            sentence=self.whole_sentence,
        )
        for query in self.queries:
            sentence = Wording.of_query(captioner, query).asked(questions)
            for what, count in (
                ("tokens", len(sentence.tokens)),
                ("words, phrases and questions", len(sentence.all_targets())),
            ):
                if count > most:
                    raise ValueError(
                        f"the query {query[:80]!r} has {count} {what}; up to {most} are explained, "
                        "so shorten it or ask less of it"
                    )

    def run(self, model: Served, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        each = len(self.queries) or 1
        # Every number of sentences is a program of its own: the last one fills up a power of two.
        padding = self.queries[-1:] * ((1 << (each - 1).bit_length()) - each)
        rows = padded_rows(len(uploads), model.captioner.at_once(model.batch))
        about = (rows, each + len(padding), bool(self.contrasts))
        model.programs.used(
            (self.linguistic, *about), *((name, self.measure, *about) for name in self.methods)
        )
        found = explain(
            model.captioner,
            [upload.picture for upload in uploads],
            methods=self.methods,
            query=[*self.queries, *padding] or None,
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
        step = each + len(padding)
        answers = []
        for number, upload in enumerate(uploads):
            own = found[number * step : number * step + each]
            shown = {"view": view(upload, own)} if self.viewed else {}
            answers.append(maps_record(upload, own) | shown)
        return answers
