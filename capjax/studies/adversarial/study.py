"""The study `Adversarial`: a small change of each picture that changes what the captioner says."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import jax
import numpy as np
from jaxtyping import Array

from capjax.captioner import Captioner, CaptionNet, token_log_probs
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import Chosen
from capjax.metrics.similarity import Distance
from capjax.studies.adversarial.agreement import agreements, explained, written
from capjax.studies.adversarial.attack import Attack, Writing
from capjax.studies.adversarial.batch import (
    attack_at,
    goal_of,
    keyword_tokens,
    said,
    sentence_tokens,
)
from capjax.studies.adversarial.goals import Kind
from capjax.studies.adversarial.named import named_attack
from capjax.studies.adversarial.success import LABEL, curve, success_table
from capjax.studies.adversarial.telling import (
    change_pictures,
    changed_words,
    lost_words,
)
from capjax.studies.contract import Curve, Finding, Study, Subject, Summary, Table
from capjax.types import Caption


@dataclasses.dataclass(frozen=True)
class Adversarial(Study):
    """A small change of each picture that changes what the captioner says of it.

    What counts is the picture rounded to 8 bits, and the caption that the captioner writes of it as
    it was validated. Pictures are stored as the captioner sees them.

    Attributes:
      attack: fgsm, pgd or show_and_fool, with options as in pgd+norm=l2+steps=20 or
        show_and_fool+steps=300+tries=3+rate=0.05.
      goal: "untargeted", another caption than the picture's own; "caption", the one in `words`;
        "keywords", one with all of `words` and others beside; "without", one with none of them.
      words: a sentence, or keywords with commas.
      epsilon: of the picture that is shown, the largest change in levels of 255; of norm=l2 the
        root of the mean square change.
      epsilons: for the curve of success; of show_and_fool those up to `epsilon`.
      methods: whose maps are compared with where the attack wrote, with commas; empty for none.
      similarity: encoder of sentences for their distance: minilm, clip, bert, a folder or
        hf:owner/name; empty for 1 - ROUGE-L, which needs no download.
      at_once: pictures attacked at once; a clip counts as its frames.
    """

    attack: str = "pgd"
    goal: Kind = "untargeted"
    words: str = ""
    epsilon: float = 8.0
    epsilons: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    methods: str = "gradcam,saliency"
    similarity: str = ""
    at_once: int = 8

    NAME = "adversarial"
    COST = "the attack's, at each epsilon (show_and_fool: once), and the methods'"
    SOURCE = "Goodfellow et al. 2015; Madry et al. 2018; Chen et al. 2018 (Show-and-Fool)"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilons", tuple(map(float, self.epsilons)))
        named_attack(self.attack)
        if self.goal not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise ValueError(f"got goal={self.goal!r}; choose one of: {known}")
        if bool(self.words.strip()) != (self.goal != "untargeted"):
            needs = "takes no words" if self.goal == "untargeted" else "needs words"
            raise ValueError(
                f"got words={self.words!r}, and the goal {self.goal!r} {needs}; set both, or none"
            )
        wrong = [value for value in (self.epsilon, *self.epsilons) if not 0 <= value <= 255]
        if wrong:
            raise ValueError(f"got an epsilon of {wrong[0]}; expected levels from 0 to 255")
        if self.at_once < 1:
            raise ValueError(f"got at_once={self.at_once}; expected 1 or more")

    @property
    def _method(self) -> Attack:
        return named_attack(self.attack)

    @property
    def _levels(self) -> list[float]:
        """The epsilons of the curve, and that of the picture, in order."""
        several = {self.epsilon, *self.epsilons}
        if self._method.SEEKS_LEAST:
            several = {epsilon for epsilon in several if epsilon <= self.epsilon}
        return sorted(several)

    def check(self, captioner: Captioner) -> None:
        """See `Study`: methods, words, the encoder of sentences."""
        self._asked(captioner)
        Distance(self.similarity).check()

    def _asked(self, captioner: Captioner) -> tuple[tuple[Chosen, ...], tuple[int, ...]]:
        """Methods and tokens of keywords."""
        methods = check_methods(captioner, self.methods.split(",")) if self.methods else ()
        keywords: tuple[int, ...] = ()
        if self.goal == "caption":
            target = sentence_tokens(captioner, self.words)
            goal_of(self.goal, [target], default_decoding(captioner)[1])
        elif self.goal != "untargeted":
            asked = [word.strip() for word in self.words.split(",") if word.strip()]
            keywords = keyword_tokens(captioner, asked)
        return tuple(methods), keywords

    def run(self, captioner: Captioner, subjects: Iterable[Subject]) -> Iterator[Finding]:
        """See `Study`."""
        methods, keywords = self._asked(captioner)
        batch: list[Subject] = []
        size = captioner.at_once(self.at_once)
        for subject in subjects:
            batch.append(subject)
            if len(batch) == size:
                yield from self._findings(captioner, batch, keywords, methods)
                batch = []
        if batch:
            yield from self._findings(captioner, batch, keywords, methods)

    def _findings(
        self,
        captioner: Captioner,
        subjects: Sequence[Subject],
        keywords: tuple[int, ...],
        methods: Sequence[Chosen],
    ) -> list[Finding]:
        # A last batch of fewer pictures runs in the program of the others.
        missing = [subjects[-1].prepared] * (captioner.at_once(self.at_once) - len(subjects))
        images = np.stack([*(subject.prepared for subject in subjects), *missing])
        decoding, max_len = default_decoding(captioner)
        _, captions = caption_batch(captioner, images, decoding=decoding, max_len=max_len)
        own = [caption.tokens for caption in captions]
        targets = own
        if self.goal == "caption":
            targets = [sentence_tokens(captioner, self.words)] * len(images)
        goal = goal_of(self.goal, targets, max_len, keywords)
        writing = Writing.of(captioner, decoding, max_len)
        given = captioner, self._method, writing, images, goal
        fooled, runs = attack_at(*given, self._levels)
        found = runs[self.epsilon]
        pictures = np.asarray(found.pictures)
        words = goal_of("untargeted", own, max_len)
        after = np.asarray(_log_probs(captioner.net, captioner.variables, pictures, words.tokens))
        maps: list[Mapping[str, Any]] = [{} for _ in subjects]
        if methods:
            maps = explained(captioner, images, captions, methods, decoding, max_len)
        texts = [said(captioner, found, row) for row in range(len(subjects))]
        distances = Distance(self.similarity)(
            {f"{row}": (captions[row].text, text) for row, text in enumerate(texts)}
        )
        return [
            Finding(
                subject.name,
                change_pictures(subject.prepared, pictures[row]),
                self._tables(captioner, captions[row], texts[row], after[row])
                | self._where(captioner, subject, pictures[row], maps[row]),
                {
                    "fooled": float(found.success[row]),
                    "largest change": float(found.linf[row]),
                    "root mean square change": float(found.l2[row]),
                    Distance(self.similarity).title: distances[f"{row}"],
                    **{LABEL.format(e): float(own[row]) for e, own in fooled.items()},
                },
            )
            for row, subject in enumerate(subjects)
        ]

    def _tables(
        self, captioner: Captioner, caption: Caption, text: str, after: np.ndarray
    ) -> dict[str, Table]:
        words, spans = captioner.text.spans(caption.tokens)
        rows = (("picture", caption.text), ("adversarial picture", text))
        return {
            "captions": Table(("of the", "caption"), rows),
            "words changed": changed_words(caption.text.split(), text.split()),
            "what each word loses": lost_words(caption, words, spans, after),
        }

    def _where(
        self,
        captioner: Captioner,
        subject: Subject,
        picture: np.ndarray,
        maps: Mapping[str, Any],
    ) -> dict[str, Table]:
        if not maps:
            return {}
        there = written(subject.prepared, picture, captioner.grid)
        return {"maps that lie where the attack wrote": agreements(there, maps)}

    def summarise(self, findings: Iterable[Finding]) -> Summary:
        """Success against epsilon, and the mean agreement of each method's maps."""
        numbers: list[Mapping[str, float]] = []
        places: dict[str, list[Sequence[Any]]] = {}
        for finding in findings:
            if finding.refused is not None:
                continue
            numbers.append(finding.numbers)
            for table in (finding.tables.get("maps that lie where the attack wrote"),):
                for label, *row in table.rows if table else ():
                    places.setdefault(str(label), []).append(row)
        if not numbers:
            return Summary()
        fooled = {
            epsilon: [own[LABEL.format(epsilon)] > 0 for own in numbers]
            for epsilon in self._levels
            if all(LABEL.format(epsilon) in own for own in numbers)
        }
        tables = {"success against epsilon": success_table({self.attack: fooled})}
        if places:
            tables["maps that lie where the attack wrote"] = _mean_places(places)
        curves: dict[str, Curve] = {"success against epsilon": curve({self.attack: fooled})}
        title = Distance(self.similarity).title
        shown = ("fooled", "largest change", "root mean square change", title)
        means = {f"mean {name}": float(np.mean([own[name] for own in numbers])) for name in shown}
        return Summary(tables, {"pictures": float(len(numbers)), **means}, curves)


def _mean_places(places: Mapping[str, Sequence[Sequence[Any]]]) -> Table:
    """Means over the pictures where both are more than constant."""
    rows = []
    for label, found in places.items():
        kept = [row for row in found if row[0] is not None]
        means = np.mean(kept, axis=0).tolist() if kept else [None] * 3
        rows.append((label, *means, len(kept)))
    columns = ("method", "Spearman", "top cells shared", "by chance", "pictures")
    return Table(columns, tuple(rows))


@functools.partial(jax.jit, static_argnames=("net",))
def _log_probs(net: CaptionNet, variables: Any, images: Array, tokens: Array) -> Array:
    features: Any = net.apply(variables, images, method="encode")
    return token_log_probs(net, variables, features, tokens)
