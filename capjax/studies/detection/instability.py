"""The study `Instability`: how much caption and maps of a picture change on spoilt copies of it."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from capjax.captioner import Captioner
from capjax.decoding.captions import caption_batch
from capjax.decoding.rules import default_decoding
from capjax.explainers.batch import check_methods, explain_batch
from capjax.explainers.choosing import Chosen
from capjax.explainers.results import Explained
from capjax.explainers.wording import LEAST_TOKENS
from capjax.metrics.faithfulness import rank_correlation
from capjax.metrics.similarity import Distance
from capjax.studies.contract import Finding, Study, Subject, Summary, Table
from capjax.studies.detection.copies import as_jpeg, with_noise
from capjax.types import Caption

KINDS = {"noise": "under noise", "JPEG": "under JPEG"}
"""Kind of a copy -> what the numbers say of it."""
WORDS, LOST = "words changed", "log-probability lost per word"


@dataclasses.dataclass(frozen=True, eq=False)
class Unstable:
    """What became of one picture's caption and maps on its copies.

    Attributes:
      kinds, copies: [C] kind of each copy, and its name.
      caption, captions: what is said of the picture, and [C] of each copy.
      changes: measure -> [C].
    """

    kinds: tuple[str, ...]
    copies: tuple[str, ...]
    caption: str
    captions: tuple[str, ...]
    changes: Mapping[str, Float[np.ndarray, " C"]]

    @property
    def numbers(self) -> dict[str, float]:
        """Measure and kind -> mean over the copies of that kind."""
        found = {}
        for kind in dict.fromkeys(self.kinds):
            own = np.array([each == kind for each in self.kinds])
            for name, values in self.changes.items():
                found[f"{name} {KINDS[kind]}"] = float(values[own].mean())
        return found


@dataclasses.dataclass(frozen=True)
class Instability(Study):
    """How much caption and maps of a picture change when it is spoilt a little.

    An adversarial picture lies near where the captioner changes its mind: noise and JPEG often undo
    it, and leave a picture as it was taken what it is. Of every copy: the share of the words that
    change (edit distance), the distance of both captions, what the log-probability of the picture's
    own caption loses, and 1 - Spearman of the maps of that caption's words. All copies of several
    pictures go through the captioner as one batch.

    Attributes:
      noises: copies with Gaussian noise.
      noise: its standard deviation, in levels of 255.
      qualities: of JPEG, one copy each, 1 to 100.
      methods: whose maps are compared, with commas; empty for none.
      similarity: encoder of sentences for their distance: minilm, clip, bert, a folder or
        hf:owner/name; empty for 1 - ROUGE-L, which needs no download.
      at_once: pictures and copies in a batch; those of one picture stay together.
    """

    noises: int = 4
    noise: float = 4.0
    qualities: tuple[int, ...] = (90, 75, 50)
    methods: str = "attention,gradcam"
    similarity: str = ""
    at_once: int = 32

    NAME = "instability"
    COST = "one caption and one map of each method for every copy"
    SOURCE = "after feature squeezing (Xu et al. 2018), and Dziugaite et al. 2016 on JPEG"

    def __post_init__(self) -> None:
        object.__setattr__(self, "qualities", tuple(self.qualities))
        if self.noises < 0 or not self.noises + len(self.qualities):
            raise ValueError(
                f"got noises={self.noises} and qualities={self.qualities}; expected one copy or "
                "more, such as noises=4"
            )
        if not 0 <= self.noise <= 255:
            raise ValueError(f"got noise={self.noise}; expected levels from 0 to 255")
        wrong = [quality for quality in self.qualities if not 1 <= quality <= 100]
        if wrong:
            raise ValueError(f"got the quality {wrong[0]}; expected 1 to 100")
        if self.at_once < 1:
            raise ValueError(f"got at_once={self.at_once}; expected 1 or more")

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("noise",) * self.noises + ("JPEG",) * len(self.qualities)

    def _copies(self, picture: UInt8[np.ndarray, "*F H W 3"]) -> list[np.ndarray]:
        noisy = [with_noise(picture, self.noise, number) for number in range(self.noises)]
        return noisy + [as_jpeg(picture, quality) for quality in self.qualities]

    @property
    def _names(self) -> tuple[str, ...]:
        noisy = [f"noise {number + 1}" for number in range(self.noises)]
        return (*noisy, *(f"JPEG {quality}" for quality in self.qualities))

    def _size(self, captioner: Captioner) -> int:
        """Pictures of a batch."""
        return max(1, captioner.at_once(self.at_once) // (1 + len(self._kinds)))

    def of(
        self, captioner: Captioner, pictures: Sequence[UInt8[np.ndarray, "*F H W 3"]]
    ) -> list[Unstable]:
        """Of prepared pictures, as many as there are; each by itself.

        Raises:
          ValueError: a method that this captioner cannot give; leave it out of `methods`.
        """
        methods = self._asked(captioner)
        size, found = self._size(captioner), list[Unstable]()
        for start in range(0, len(pictures), size):
            own = list(pictures[start : start + size])
            # A batch of fewer pictures runs in the program of the others.
            filled = own + [own[-1]] * (size - len(own))
            found += self._batch(captioner, methods, filled)[: len(own)]
        return found

    def check(self, captioner: Captioner) -> None:
        """See `Study`: methods and the encoder of sentences."""
        self._asked(captioner)
        Distance(self.similarity).check()

    def _asked(self, captioner: Captioner) -> tuple[Chosen, ...]:
        return tuple(check_methods(captioner, self.methods.split(","))) if self.methods else ()

    def run(self, captioner: Captioner, subjects: Iterable[Subject]) -> Iterator[Finding]:
        """See `Study`."""
        batch: list[Subject] = []
        for subject in subjects:
            batch.append(subject)
            if len(batch) == self._size(captioner):
                yield from self._findings(captioner, batch)
                batch = []
        yield from self._findings(captioner, batch)

    def _findings(self, captioner: Captioner, subjects: Sequence[Subject]) -> Iterator[Finding]:
        found = self.of(captioner, [subject.prepared for subject in subjects])
        for subject, own in zip(subjects, found, strict=True):
            yield Finding(subject.name, {}, {"on spoilt copies": _table(own)}, own.numbers)

    def summarise(self, findings: Iterable[Finding]) -> Summary:
        """The mean of each number over pictures."""
        numbers = [finding.numbers for finding in findings if finding.refused is None]
        if not numbers:
            return Summary()
        means = {f"mean {name}": float(np.mean([n[name] for n in numbers])) for name in numbers[0]}
        return Summary(numbers={"pictures": float(len(numbers)), **means})

    def _batch(
        self,
        captioner: Captioner,
        methods: Sequence[Chosen],
        pictures: Sequence[UInt8[np.ndarray, "*F H W 3"]],
    ) -> list[Unstable]:
        each = 1 + len(self._kinds)
        rows = np.stack([row for own in pictures for row in (own, *self._copies(own))])
        decoding, max_len = default_decoding(captioner)
        _, captions = caption_batch(captioner, rows, decoding=decoding, max_len=max_len)
        explained = explain_batch(
            captioner,
            rows,
            [captioner.preprocessing.size] * len(rows),
            methods=methods,
            decoding=decoding,
            max_len=max_len,
            captions=[captions[row - row % each] for row in range(len(rows))],
            least_tokens=min(max_len, LEAST_TOKENS),
        )
        return [
            self._one(captions[start : start + each], [e for (e,) in explained[start:][:each]])
            for start in range(0, len(rows), each)
        ]

    def _one(self, captions: Sequence[Caption], explained: Sequence[Explained]) -> Unstable:
        own, others = captions[0], captions[1:]
        pairs = {f"{row}": (own.text, other.text) for row, other in enumerate(others)}
        distances = Distance(self.similarity)(pairs)
        read = np.stack([one.log_probs for one in explained])
        changes = {
            WORDS: np.array([changed_share(own.words, other.words) for other in others]),
            Distance(self.similarity).title: np.array([distances[name] for name in pairs]),
            LOST: (read[0] - read[1:]).sum(axis=1) / max(1, len(own.words)),
        }
        for label in explained[0].explanations:
            maps = np.stack([_flat(one.explanations[label].maps) for one in explained])
            changes[f"{label} changed"] = map_changes(maps[0], maps[1:])
        return Unstable(
            self._kinds, self._names, own.text, tuple(other.text for other in others), changes
        )


def changed_share(before: Sequence[str], after: Sequence[str]) -> float:
    """Fewest words to insert, leave out or replace, as a share of the longer caption."""
    row = list(range(len(after) + 1))
    for at, word in enumerate(before):
        last = row
        row = [at + 1]
        for place, other in enumerate(after):
            row.append(min(last[place] + (word != other), last[place + 1] + 1, row[place] + 1))
    return row[-1] / max(1, len(before), len(after))


def map_changes(
    before: Float[np.ndarray, "N D"], after: Float[np.ndarray, "C N D"]
) -> Float[np.ndarray, " C"]:
    """1 - Spearman of each word's two maps, the mean over words; 0 of a caption without words.

    Two maps that are the same everywhere are equal; one such map and another one are not.
    """
    if not len(before):
        return np.zeros(len(after))
    alike: Any = rank_correlation(np.broadcast_to(before, after.shape), after)
    found: np.ndarray = 1 - alike.mean(axis=1)
    return found


def _flat(maps: Float[np.ndarray, "N F h w"]) -> Float[np.ndarray, "N D"]:
    return maps.reshape(len(maps), -1)


def _table(found: Unstable) -> Table:
    none: tuple[Any, ...] = (None,) * len(found.changes)
    rows = [("picture", found.caption, *none)]
    for at, (name, caption) in enumerate(zip(found.copies, found.captions, strict=True)):
        rows.append((name, caption, *(float(own[at]) for own in found.changes.values())))
    return Table(("copy", "caption", *found.changes), tuple(rows))
