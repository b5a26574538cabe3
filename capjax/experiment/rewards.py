"""Rewards of written captions, for self-critical training."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from capjax.data.batches.pipeline import CaptionSamples
from capjax.data.boxes.object_words import ObjectWords
from capjax.metrics.cider import CiderD
from capjax.metrics.similarity import load_clip
from capjax.studies.doubt.object_names import is_hallucinated
from capjax.text.protocol import Text
from capjax.text.ptb_lite import tokenize
from capjax.text.sentence_encoder import SentenceEncoder
from capjax.train.self_critical import Reward, SelfCriticalConfig

END = "<end>"
"""The end token as a word; no caption contains it."""


class CiderReward:
    """CIDEr-D of captions, by the references of their images and the corpus of all of them."""

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        image_of: Int[np.ndarray, " N"],
        text: Text,
        *,
        end_token: bool,
    ) -> None:
        """Counts the corpus.

        Args:
          captions: sentences of each training image.
          image_of: number of the image of each training caption.
          text: words of the captioner.
          end_token: whether a caption that ends earns the end token as a word.
        """
        self._image_of = image_of
        self._text = text
        self._end = [END] if end_token else []
        self._scorer = CiderD([[tokenize(each) + self._end for each in own] for own in captions])

    def __call__(
        self,
        ids: Int[np.ndarray, " B"],
        tokens: Int[np.ndarray, "B K T"],
        lengths: Int[np.ndarray, "B K"],
    ) -> Float[np.ndarray, "B K"]:
        """Scores from 0 to 10 of K captions of the image of each training caption of `ids`."""
        rows = []
        for image, own, sizes in zip(self._image_of[ids], tokens, lengths, strict=True):
            written = [self._words(row[:size]) for row, size in zip(own, sizes, strict=True)]
            rows.append(self._scorer.scores(int(image), written))
        return np.array(rows)

    def _words(self, tokens: np.ndarray) -> list[str]:
        ended = len(tokens) > 0 and tokens[-1] == self._text.eos
        return tokenize(self._text.decode(tokens.tolist())) + (self._end if ended else [])


class ClipReward:
    """Cosine of CLIP's text embeddings of a caption and of its image's references.

    Deviation from Hessel et al. (2021), who compare captions with images. References are read as
    the captioner's words are written: lower case, without punctuation.
    """

    def __init__(
        self,
        captions: Sequence[Sequence[str]],
        image_of: Int[np.ndarray, " N"],
        text: Text,
        encoder: SentenceEncoder,
        *,
        references: str = "mean",
    ) -> None:
        """Encodes nothing yet.

        Args:
          captions: sentences of each training image.
          image_of: number of the image of each training caption.
          text: words of the captioner.
          encoder: of sentences, to embeddings of length 1.
          references: "mean" or "max" of the similarities to the references.
        """
        self._captions = captions
        self._image_of = image_of
        self._text = text
        self._encoder = encoder
        self._best = references == "max"
        self._references: dict[int, Float[np.ndarray, "R D"]] = {}

    def __call__(
        self,
        ids: Int[np.ndarray, " B"],
        tokens: Int[np.ndarray, "B K T"],
        lengths: Int[np.ndarray, "B K"],
    ) -> Float[np.ndarray, "B K"]:
        """Scores from -1 to 1 of K captions of the image of each training caption of `ids`."""
        images = [int(image) for image in self._image_of[ids]]
        self._encode_references(images)
        flat = zip(tokens.reshape(-1, tokens.shape[-1]), lengths.reshape(-1), strict=True)
        written = [self._text.decode(row[:size].tolist()) for row, size in flat]
        distinct = list(dict.fromkeys(written))
        vectors = dict(zip(distinct, self._encoder.encode(distinct), strict=True))
        found = np.stack([vectors[sentence] for sentence in written])
        found = found.reshape(*lengths.shape, -1)
        rows = []
        for own, image in zip(found, images, strict=True):
            cosines = own @ self._references[image].T  # [K R]
            rows.append(cosines.max(axis=1) if self._best else cosines.mean(axis=1))
        return np.stack(rows)

    def _encode_references(self, images: Sequence[int]) -> None:
        """Of images that come for the first time, all at once."""
        new = [image for image in dict.fromkeys(images) if image not in self._references]
        sentences = [" ".join(tokenize(each)) for image in new for each in self._captions[image]]
        vectors = iter(self._encoder.encode(sentences))
        for image in new:
            self._references[image] = np.stack([next(vectors) for _ in self._captions[image]])


class TruthfulReward:
    """Another reward, less a penalty for every object word that is hallucinated.

    That is a word of which the image shows no class that it may name (CHAIR, Rohrbach et al. 2018).
    Where it is not known what an image shows, no word costs anything.
    """

    def __init__(
        self,
        reward: Reward,
        penalty: float,
        words: ObjectWords,
        shown: Sequence[frozenset[str] | None],
        image_of: Int[np.ndarray, " N"],
        text: Text,
    ) -> None:
        """Reads nothing yet.

        Args:
          reward: the other one.
          penalty: of a word, in units of the other reward.
          words: which words name which class.
          shown: classes that each training image shows; None where nobody knows.
          image_of: number of the image of each training caption.
          text: words of the captioner.
        """
        self._reward = reward
        self._penalty = penalty
        self._words = words
        self._shown = shown
        self._image_of = image_of
        self._text = text

    def __call__(
        self,
        ids: Int[np.ndarray, " B"],
        tokens: Int[np.ndarray, "B K T"],
        lengths: Int[np.ndarray, "B K"],
    ) -> Float[np.ndarray, "B K"]:
        """The other reward less the penalties, of K captions of the image of each of `ids`."""
        wrong = np.zeros(lengths.shape)
        for row, image in enumerate(self._image_of[ids]):
            shown = self._shown[int(image)]
            if shown is None:
                continue
            for column, size in enumerate(lengths[row]):
                said = tokenize(self._text.decode(tokens[row, column, :size].tolist()))
                named = self._words.find(said)
                wrong[row, column] = sum(is_hallucinated(name, shown) for name in named)
        return self._reward(ids, tokens, lengths) - self._penalty * wrong


def build_reward(
    config: SelfCriticalConfig,
    captions: Sequence[Sequence[str]],
    samples: CaptionSamples,
    text: Text,
    shown: tuple[ObjectWords, Sequence[frozenset[str] | None]] | None = None,
) -> Reward | None:
    """The reward of the stage; None where there is no such stage.

    Args:
      config: settings.
      captions: sentences of each training image.
      samples: the training captions.
      text: words of the captioner.
      shown: of `shown_classes`, for `hallucination_penalty`.

    Raises:
      ImportError, FileNotFoundError, ValueError: the CLIP of `clip_text` cannot be loaded.
    """
    if not config.samples:
        return None
    reward = _plain_reward(config, captions, samples, text)
    if shown is None:
        return reward
    return TruthfulReward(reward, config.hallucination_penalty, *shown, samples.image, text)


def _plain_reward(
    config: SelfCriticalConfig,
    captions: Sequence[Sequence[str]],
    samples: CaptionSamples,
    text: Text,
) -> Reward:
    if config.reward == "CIDEr":
        return CiderReward(captions, samples.image, text, end_token=config.end_token)
    encoder = load_clip(config.clip_text, "self_critical.clip_text")
    over = config.clip_references
    return ClipReward(captions, samples.image, text, encoder, references=over)
