"""What is asked about each image: its caption, sentences for all of them, or people's captions."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.explainers.language.program import Language
from capjax.explainers.targets import Questions
from capjax.explainers.wording import Unknown, Wording, asked_of_all, without_phrases
from capjax.folder.records import Result
from capjax.runtime.files import counted, listed, printable

CAPTIONS = "captions"
"""Of --queries: people's captions."""


@dataclasses.dataclass(frozen=True)
class Queries:
    """What is asked about each image of a run.

    Attributes:
      texts: sentences for every image; none: the caption of each is explained.
      captions: file -> the sentences about it, in place of `texts`; None where these count.
      unknown: how the captioner reads words that it does not know.
      strange: of all sentences, the words that it does not know, in order.
      questions: what is explained of every sentence, captions too, beside its words.
      language: what is asked about words beside their maps.
    """

    texts: tuple[str, ...] = ()
    captions: Mapping[str, tuple[str, ...]] | None = None
    unknown: Unknown = "token"
    strange: tuple[str, ...] = ()
    questions: Questions = Questions()
    language: Language = Language()

    @classmethod
    def of_texts(
        cls,
        captioner: Captioner,
        texts: Sequence[str],
        *,
        unknown: Unknown = "token",
        questions: Questions | None = None,
    ) -> "Queries":
        """The same sentences for every image.

        Raises:
          ValueError: one that has no words to explain, brackets that do not pair, or a question
            about a word that none has.
        """
        questions = questions or Questions()
        asked = [Wording.of_query(captioner, text, unknown=unknown) for text in texts]
        asked_of_all(asked, questions)
        strange = dict.fromkeys(word for sentence in asked for word in _strange(sentence))
        return cls(tuple(texts), None, unknown, tuple(strange), questions)

    @classmethod
    def of_captions(
        cls,
        captioner: Captioner,
        references: Mapping[str, Sequence[str]],
        files: Sequence[str],
        *,
        unknown: Unknown = "token",
        questions: Questions | None = None,
        tell: Callable[[str], None],
    ) -> "Queries":
        """People's captions of each image, a sentence each.

        Args:
          captioner: that explains them.
          references: file -> its captions.
          files: of the run; those without a caption to explain are in none of the answers.
          unknown: how words are read that the captioner does not know.
          questions: what is explained of every sentence beside its words.
          tell: takes a sentence on what is left out.

        Raises:
          ValueError: no image has a caption to explain.
        """
        kept: dict[str, tuple[str, ...]] = {}
        strange: dict[str, None] = {}
        empty: list[str] = []
        for file in files:
            own = []
            for text in references.get(file, ()):
                try:
                    sentence = _read(captioner, text, unknown)
                except ValueError:  # not one word, or none that the captioner knows
                    empty.append(f"{printable(file)}: {text!r}")
                    continue
                own.append(text)
                strange.update(dict.fromkeys(_strange(sentence)))
            if own:
                kept[file] = tuple(own)
        bare = [printable(file) for file in files if file not in kept]
        if not kept:
            raise ValueError(
                "--queries=captions found no caption to explain; give --captions of these images"
            )
        if empty:
            tell(f"{len(empty)} captions have no words to explain: {listed(empty, most=3)}")
        if bare:
            tell(
                f"{len(bare)} of {len(files)} images have no caption to explain and are not "
                f"explained: {listed(bare)}"
            )
        return cls((), kept, unknown, tuple(strange), questions or Questions())

    def about(self, file: str) -> tuple[str | None, ...]:
        """The sentences about an image; None stands for its caption."""
        if self.captions is not None:
            return self.captions[file]
        return self.texts or (None,)

    def sentences(self, captioner: Captioner, file: str) -> list[Wording]:
        """What `about` says, as the captioner reads it; nothing for the caption."""
        if self.captions is not None:
            found = [_read(captioner, text, self.unknown) for text in self.captions[file]]
        else:
            found = [Wording.of_query(captioner, text, unknown=self.unknown) for text in self.texts]
        return [sentence.asked(self.questions) for sentence in found]

    def covers(self, file: str) -> bool:
        """Whether anything is asked about an image."""
        return self.captions is None or file in self.captions

    @property
    def remark(self) -> str | None:
        """A sentence on words that the captioner does not know, and how it reads them."""
        if not self.strange:
            return None
        reads = {
            "token": "it reads its unknown token for each; --unknown-words=skip leaves them out",
            "skip": "it does not read them; --unknown-words=token reads its unknown token for each",
        }
        where = "--query" if self.captions is None else "people's captions"
        words = listed([printable(word) for word in self.strange])
        return f"the captioner does not know these words of {where}: {words}; {reads[self.unknown]}"

    def to_json(self) -> dict[str, Any]:
        """What run.json says: `query`, one text, a list of several or null; `queries`."""
        one = self.texts[0] if len(self.texts) == 1 else None
        return {
            "query": list(self.texts) if len(self.texts) > 1 else one,
            "queries": None if self.captions is None else CAPTIONS,
            "unknown_words": self.unknown,
        }


def lacking_words(results: Iterable[Result]) -> list[str]:
    """Sentences on what was asked and not explained, for want of the word."""
    answers = [answer.lacking for result in results for answer in result.answers]
    counts = collections.Counter(label for own in answers for label in own)
    return [
        f"{label}: not explained of {count:,} of {counted(len(answers), 'sentence')}, which "
        f"{'has' if count == 1 else 'have'} no such word"
        for label, count in counts.items()
    ]


def _read(captioner: Captioner, text: str, unknown: Unknown) -> Wording:
    return Wording.of_query(captioner, without_phrases(text), unknown=unknown)


def _strange(sentence: Wording) -> list[str]:
    return [sentence.words[index] for index in sentence.unknown]
