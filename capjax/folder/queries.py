"""What is asked about each image: its caption, sentences for all of them, or people's captions."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.explainers.wording import Unknown, Wording
from capjax.runtime.files import listed, printable

CAPTIONS = "captions"
"""Of --queries: people's captions."""

_BRACKETS = {ord("["): " ", ord("]"): " "}


@dataclasses.dataclass(frozen=True)
class Queries:
    """What is asked about each image of a run.

    Attributes:
      texts: sentences for every image; none: the caption of each is explained.
      captions: file -> the sentences about it, in place of `texts`; None where these count.
      unknown: how the captioner reads words that it does not know.
      strange: of all sentences, the words that it does not know, in order.
    """

    texts: tuple[str, ...] = ()
    captions: Mapping[str, tuple[str, ...]] | None = None
    unknown: Unknown = "token"
    strange: tuple[str, ...] = ()

    @classmethod
    def of_texts(
        cls, captioner: Captioner, texts: Sequence[str], *, unknown: Unknown = "token"
    ) -> "Queries":
        """The same sentences for every image.

        Raises:
          ValueError: one that has no words to explain, or brackets that do not pair.
        """
        asked = [Wording.of_query(captioner, text, unknown=unknown) for text in texts]
        strange = dict.fromkeys(word for sentence in asked for word in _strange(sentence))
        return cls(tuple(texts), None, unknown, tuple(strange))

    @classmethod
    def of_captions(
        cls,
        captioner: Captioner,
        references: Mapping[str, Sequence[str]],
        files: Sequence[str],
        *,
        unknown: Unknown = "token",
        tell: Callable[[str], None],
    ) -> "Queries":
        """People's captions of each image, a sentence each.

        Args:
          captioner: that explains them.
          references: file -> its captions.
          files: of the run; those without a caption to explain are in none of the answers.
          unknown: how words are read that the captioner does not know.
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
        return cls((), kept, unknown, tuple(strange))

    def about(self, file: str) -> tuple[str | None, ...]:
        """The sentences about an image; None stands for its caption."""
        if self.captions is not None:
            return self.captions[file]
        return self.texts or (None,)

    def sentences(self, captioner: Captioner, file: str) -> list[Wording]:
        """What `about` says, as the captioner reads it; nothing for the caption."""
        if self.captions is not None:
            return [_read(captioner, text, self.unknown) for text in self.captions[file]]
        return [Wording.of_query(captioner, text, unknown=self.unknown) for text in self.texts]

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


def _read(captioner: Captioner, text: str, unknown: Unknown) -> Wording:
    # A bracket in people's captions is punctuation; in a query it marks a phrase.
    return Wording.of_query(captioner, text.translate(_BRACKETS), unknown=unknown)


def _strange(sentence: Wording) -> list[str]:
    return [sentence.words[index] for index in sentence.unknown]
