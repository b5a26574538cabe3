"""The question where each word comes from."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from capjax.api import explain, padded_rows
from capjax.explainers.choosing import Wanted
from capjax.explainers.programs import Watch
from capjax.explainers.request import Measure
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Wording
from capjax.serve.asking.fitted_concepts import CONCEPTS
from capjax.serve.asking.served import Models, Served
from capjax.serve.limits import Limits
from capjax.serve.records import maps_record, view
from capjax.serve.uploads import Upload


@dataclasses.dataclass(frozen=True)
class Maps:
    """Maps of the words of each picture's caption, or of sentences.

    Attributes:
      model: who is asked.
      methods: their names; "concepts" are those that were fitted.
      queries: sentences to explain instead of the caption.
      contrasts, keywords, whole_sentence, measure, linguistic: as of `capjax.explain`.
      viewed: whether the answer has the page's view of it too.
    """

    model: str
    methods: tuple[str, ...]
    queries: tuple[str, ...] = ()
    contrasts: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    whole_sentence: bool = False
    measure: Measure | None = None
    linguistic: tuple[str, ...] = ()
    viewed: bool = False

    quick = False

    def check(self, model: Served, limits: Limits) -> None:
        """Judges what can be judged without a picture.

        Args:
          model: that is asked.
          limits: of tokens and targets of a sentence, beyond which programs would be compiled for
            this request alone.

        Raises:
          ValueError: a sentence is too long, or asks too much; or it has no words to explain; or
            concepts are asked for, and none were fitted.
        """
        captioner = model.captioner
        self._wanted(model)
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
                if count > limits.tokens:
                    raise ValueError(
                        f"the query {query[:80]!r} has {count} {what}; up to "
                        f"{limits.tokens} are explained, so shorten it or ask less of it"
                    )

    def _wanted(self, model: Served) -> list[Wanted]:
        return [model.concepts.method if name == CONCEPTS else name for name in self.methods]

    def run(self, models: Models, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        model = models[self.model]
        each = len(self.queries) or 1
        # Every number of sentences is a program of its own: the last one fills up a power of two.
        padding = self.queries[-1:] * ((1 << (each - 1).bit_length()) - each)
        rows = padded_rows(len(uploads), model.captioner.at_once(model.batch))
        about = (rows, each + len(padding), bool(self.contrasts))
        model.programs.used(
            (model.name, self.linguistic, *about),
            *((model.name, name, self.measure, *about) for name in self.methods),
        )
        found = explain(
            model.captioner,
            [upload.picture for upload in uploads],
            methods=self._wanted(model),
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
