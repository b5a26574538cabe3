"""Sentences to explain: a captioner's own, or a query with phrases and words it does not know."""

import collections
import dataclasses
import math
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from capjax.captioner import Captioner
from capjax.explainers.targets import Contrast, Extra, Phrase, Questions, Target, compile_targets
from capjax.runtime.files import counted
from capjax.types import Caption, SentenceTarget

TOKEN_BUCKET = 8
"""Sentences are padded to a multiple of this many tokens, and targets likewise: few programs."""
USUAL_TOKENS = 16
"""Of the longest caption of a batch: what is compiled first where no caption is known yet."""
LEAST_TOKENS = 32
"""What a caller pads to who explains a few images at a time: then the first caption compiles for
all others, of whatever length, and one of 40 tokens for the rare longer ones."""

Unknown = Literal["token", "skip"]


@dataclasses.dataclass(frozen=True)
class Wording:
    """A sentence to explain: its tokens, and the words that a reader sees for them.

    Attributes:
      tokens: ids, end token included where there is one.
      words, spans: what to show, and the (start, end) tokens of each word; an empty span is a word
        that the captioner is not shown.
      unknown: indices of words outside the vocabulary; they are shown as they were written and
        explained as the unknown token, or not at all.
      phrases: (first word, last word + 1) of spans to explain as one.
      extras: what is explained beside words and phrases.
      lacking: labels of what was asked about words that are not in the sentence.
    """

    tokens: tuple[int, ...]
    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    unknown: tuple[int, ...] = ()
    phrases: tuple[tuple[int, int], ...] = ()
    extras: tuple[Extra, ...] = ()
    lacking: tuple[str, ...] = ()

    @classmethod
    def of_caption(cls, captioner: Captioner, caption: Caption) -> "Wording":
        """The sentence of a decoded caption."""
        words, spans = captioner.text.spans(caption.tokens)
        return cls(caption.tokens, tuple(words), tuple(spans))

    @classmethod
    def of_query(cls, captioner: Captioner, text: str, *, unknown: Unknown = "token") -> "Wording":
        """The sentence of a query, as the captioner reads it.

        Args:
          captioner: whose words it is made of.
          text: any sentence; `[a small boy] in [a hat]` marks phrases.
          unknown: what the captioner reads for a word that it does not know: its unknown token, or
            ("skip") nothing. The word stays in the result either way, and is marked.

        Raises:
          ValueError: brackets that do not pair, a phrase without words, or no word at all.
        """
        plain, pieces = _without_brackets(text)
        tokens = captioner.text.encode(plain)
        words, spans = captioner.text.spans(tokens, plain)
        phrases, first, read = [], 0, ""
        for piece, marked in pieces:
            read += piece  # from the start: a word may go on after a bracket, as in [t]-shirt
            last = len(captioner.text.spans(captioner.text.encode(read), read)[0])
            if marked and last == first:
                raise ValueError(f"the query {text!r} has a phrase without words: [{piece}]")
            phrases += [(first, last)] if marked else []
            first = last
        strange = tuple(
            index
            for index, (start, end) in enumerate(spans)
            if captioner.text.unk in tokens[start:end]
        )
        if unknown == "skip" and strange:
            tokens, spans = _skip(tokens, spans, strange)
        if not words or not any(end > start for start, end in spans):
            known = f"; it knows none of {', '.join(words)}" if words else ""
            raise ValueError(
                f"the query {text!r} has no words to explain{known}; give a sentence of other words"
            )
        return cls(tuple(tokens), tuple(words), tuple(spans), strange, tuple(phrases))

    def of_phrases(self, phrases: Sequence[tuple[int, int]]) -> "Wording":
        """The same sentence with other phrases, as (first word, last word + 1)."""
        for first, last in phrases:
            if not 0 <= first < last <= len(self.words):
                raise ValueError(
                    f"got the phrase ({first}, {last}); this sentence has words 0 to "
                    f"{len(self.words) - 1}, and the second number is one past the last"
                )
        return dataclasses.replace(self, phrases=tuple(phrases))

    def of_words(self, chosen: Sequence[int]) -> "Wording":
        """The same tokens, of which only these words are explained, and no phrase."""
        return Wording(
            tokens=self.tokens,
            words=tuple(self.words[index] for index in chosen),
            spans=tuple(self.spans[index] for index in chosen),
            unknown=tuple(new for new, index in enumerate(chosen) if index in self.unknown),
        )

    def asked(self, questions: Questions) -> "Wording":
        """The same sentence with what is asked of every one."""
        extras, lacking = questions.about(self.words, self.spans, self.tokens)
        return dataclasses.replace(self, extras=extras, lacking=lacking)

    def targets(self) -> list[Phrase | None]:
        """Every word, then every phrase; None where no token stands for it."""
        spans = [self.spans[first:last] for first, last in self.phrases]
        return [_phrase(own) for own in [*([span] for span in self.spans), *spans]]

    def all_targets(self) -> list[Target | None]:
        """What to explain: `targets`, then the extras."""
        return [*self.targets(), *(extra.target for extra in self.extras)]


def without_phrases(text: str) -> str:
    """What somebody wrote, as a query that marks no phrase: its brackets are punctuation."""
    return text.translate({ord("["): " ", ord("]"): " "})


def asked_of_all(sentences: Sequence[Wording], questions: Questions) -> list[Wording]:
    """The same sentences with what is asked of every one; of queries, which all images share.

    Raises:
      ValueError: something is asked about a word that none of them has.
    """
    found = [sentence.asked(questions) for sentence in sentences]
    nowhere = set.intersection(*(set(own.lacking) for own in found)) if found else set()
    if nowhere:
        texts = "; ".join(" ".join(own.words) for own in found)
        raise ValueError(
            f"no query has the word to explain: {', '.join(sorted(nowhere))}; the captioner reads: "
            f"{texts}"
        )
    return found


class Padded(NamedTuple):
    """The sentences of a batch as arrays; see `Request`.

    Attributes:
      tokens: int32.
      lengths: int32.
      weights: of the targets, see `Wording.all_targets`.
      alternatives: of those that are contrasts, NO_TOKEN elsewhere.
    """

    tokens: Int[np.ndarray, "B Q T"]
    lengths: Int[np.ndarray, "B Q"]
    weights: Float[np.ndarray, "B Q N T"]
    alternatives: Int[np.ndarray, "B Q N T"]


def warn_of_lacking(sentences: Sequence[Wording]) -> None:
    """Warns of how many sentences something is not explained, for want of the word.

    The warning points to the caller of the function that calls this.
    """
    counts = collections.Counter(label for sentence in sentences for label in sentence.lacking)
    for label, count in counts.items():
        warnings.warn(
            f"{label} is not explained of {count} of {counted(len(sentences), 'sentence')}, which "
            f"{'has' if count == 1 else 'have'} no such word",
            stacklevel=3,
        )


def pad_sentences(
    sentences: Sequence[Sequence[Wording]], *, least: int = 1, narrow: bool = False
) -> Padded:
    """The sentences of each image, padded to few sizes.

    There are at least as many targets as tokens, and at least `least` of both, before rounding up:
    words and tokens of captions differ in number by one or so, and each pair would be a program.
    With `narrow`, for sentences of few words (`Wording.of_words`), targets are only rounded up.
    """
    queries, count, width = padded_sizes(sentences, least=least, narrow=narrow)
    rows = (len(sentences), queries)
    tokens = np.zeros((*rows, width), np.int32)
    lengths = np.zeros(rows, np.int32)
    targets: list[list[Target | None]] = [[] for _ in range(math.prod(rows))]
    for row, own in enumerate(sentences):
        for column, sentence in enumerate(own):
            lengths[row, column] = len(sentence.tokens)
            tokens[row, column, : len(sentence.tokens)] = sentence.tokens
            targets[row * queries + column] = sentence.all_targets()
    compiled = compile_targets(targets, lengths.ravel().tolist(), width, count=count)
    weights, alternatives = (array.reshape(*rows, count, width) for array in compiled)
    return Padded(tokens, lengths, weights, alternatives)


class Sizes(NamedTuple):
    """Of the sentences of a batch, padded: Q of an image, N targets and T tokens of each."""

    queries: int
    targets: int
    tokens: int


def padded_sizes(
    sentences: Sequence[Sequence[Wording]], *, least: int = 1, narrow: bool = False
) -> Sizes:
    """What `pad_sentences` makes of sentences; of several batches no size is larger than theirs."""
    everything = [sentence for own in sentences for sentence in own]
    longest = max((len(sentence.tokens) for sentence in everything), default=1)
    width = bucket(max(longest, least))
    most = bucket(max([1, *(len(one.all_targets()) for one in everything)]))
    queries = max((len(own) for own in sentences), default=1)
    return Sizes(queries, most if narrow else max(width, most), width)


def word_scores(
    log_probs: Float[np.ndarray, " T"], spans: Sequence[tuple[int, int]]
) -> Float[np.ndarray, " N"]:
    """Log-probability of each word, the sum over its tokens; NaN for one that was not read."""
    sums = [log_probs[start:end].sum() if end > start else np.nan for start, end in spans]
    return np.array(sums, np.float32)


def scored_targets(
    sentence: Wording, log_probs: Float[np.ndarray, " T"], scores: Float[np.ndarray, " N"] | None
) -> tuple[SentenceTarget, ...]:
    """The extras of a sentence with their log-probabilities.

    Args:
      sentence: that was read.
      log_probs: of its tokens.
      scores: of its targets, see `programs.Answered`; None where none is a contrast.
    """
    found = []
    first = len(sentence.words) + len(sentence.phrases)
    for row, extra in enumerate(sentence.extras, start=first):
        if scores is None:
            score = extra.target.weights(len(log_probs)) @ log_probs
        else:
            score = scores[row]
        contrast = isinstance(extra.target, Contrast)
        found.append(SentenceTarget(extra.label, extra.words, float(score), contrast, extra.note))
    return tuple(found)


def bucket(count: int) -> int:
    """The length that so many tokens are padded to."""
    return -(-count // TOKEN_BUCKET) * TOKEN_BUCKET


def _phrase(spans: Sequence[tuple[int, int]]) -> Phrase | None:
    spoken = [span for span in spans if span[1] > span[0]]
    return Phrase(spoken[0][0], spoken[-1][1]) if spoken else None


def _without_brackets(text: str) -> tuple[str, list[tuple[str, bool]]]:
    """The text without brackets, and its pieces with whether each stood in brackets."""
    pieces: list[tuple[str, bool]] = []
    plain, rest, inside = "", text, False
    while rest:
        places = [place for place in (rest.find("["), rest.find("]")) if place >= 0]
        if not places:
            break
        place = min(places)
        if (rest[place] == "]") != inside:
            raise ValueError(
                f"the brackets of the query {text!r} do not pair; write [a phrase] in brackets, "
                "and none within another"
            )
        piece, rest = rest[:place], rest[place + 1 :]
        if _in_word((plain + piece)[-1:]) and _in_word(rest[:1]):
            piece += " "  # two words, and nothing but a bracket between them
        pieces.append((piece, inside))
        plain, inside = plain + piece, not inside
    if inside:
        raise ValueError(f"the query {text!r} opens a bracket that it does not close; add a ]")
    pieces.append((rest, False))
    return plain + rest, pieces


def _in_word(sign: str) -> bool:
    """Whether a character is part of a word: a letter, a digit or, in many scripts, a mark."""
    return sign != "" and unicodedata.category(sign)[0] in "LMN"


def _skip(
    tokens: Sequence[int], spans: Sequence[tuple[int, int]], strange: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens without those of strange words, and where the others' stand then."""
    kept: list[int] = []
    moved: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(spans):
        first = len(kept)
        kept += [] if index in strange else tokens[start:end]
        moved.append((first, len(kept)))
    return kept + list(tokens[spans[-1][1] :]), moved
