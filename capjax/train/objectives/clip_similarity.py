"""A loss that compares meanings: the distance of a caption from its reference in CLIP's space.

    loss = (own loss + lambda_clip * distance) / (1 + lambda_clip)
    distance = mean over captions and numbers of (CLIP(reference) - CLIP(caption))^2

with CLIP's text embeddings before they are brought to length 1; lambda_clip = 1 is the average of
two losses. The caption is what the captioner finds likeliest at each place of its
reference (teacher forcing: one pass, and 0 where all these words are the reference's).

A word of a captioner is one or several pieces of CLIP's byte-pair vocabulary. As CLIP splits texts
at blanks first, the pieces of a caption are those of its words, one after the other, so the text
that CLIP reads is put together on the device, and can be differentiated: the embedding of the j-th
piece of a word w, where the captioner has the probabilities p over words v, is

    forward:  E[piece(w, j)]                        what CLIP reads is a text
    backward: sum over v of p_v E[piece(v, j)]      words with fewer pieces give nothing

(straight-through, Bengio et al. 2013). How many pieces a place has, and where they come, is that of
w in both. Words without pieces, which are never written (the unknown word, start, end, padding),
are left out of caption and reference alike.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from capjax.text.clip_text import ClipText
from capjax.text.embedding import unit_length
from capjax.text.subwords import Subwords
from capjax.text.vocabulary import SPECIALS, Vocabulary
from capjax.train.objectives.losses import length_mask

Metrics = dict[str, Float[Array, ""]]


@struct.dataclass
class WordPieces:
    """How CLIP writes each of V words, in at most M pieces.

    Attributes:
      counts: [V] pieces of each word.
      pieces: [V M] their ids, 0 beyond `counts`.
      having: the words that have a first piece, those that have a second, and so on to the M-th.
    """

    counts: Int[Array, " V"]
    pieces: Int[Array, "V M"]
    having: tuple[Int[Array, " N"], ...]


def word_pieces(text: Vocabulary, subwords: Subwords) -> WordPieces:
    """The pieces of the words of a vocabulary; none of its special entries."""
    start = len(SPECIALS)
    found: list[list[int]] = [[]] * start
    # Between CLIP's start and end tokens.
    found += [ids[1:-1] for ids in subwords.encode(text.entries[start:])]
    counts = np.array([len(ids) for ids in found], np.int32)
    pieces = np.zeros((len(found), counts.max()), np.int32)
    for row, ids in enumerate(found):
        pieces[row, : len(ids)] = ids
    having = (np.flatnonzero(counts > place).astype(np.int32) for place in range(counts.max()))
    return WordPieces(jnp.asarray(counts), jnp.asarray(pieces), tuple(map(jnp.asarray, having)))


@dataclasses.dataclass(frozen=True)
class ClipSimilarity:
    """The static part: a net, and what a text of its vocabulary begins and ends with.

    Its arrays are `{"variables": of the net, "pieces": WordPieces}`, an argument of every function.

    Attributes:
      net: one that does not bring embeddings to length 1.
      start, end: ids of its special tokens.
      room: pieces of the longest text; what is longer is cut, as CLIP cuts at its 77 tokens.
    """

    net: ClipText
    start: int
    end: int
    room: int

    def averaged(
        self,
        own: Float[Array, ""],
        arrays: Mapping[str, Any],
        logits: Float[Array, "B T V"],
        tokens: Int[Array, "B T"],
        lengths: Int[Array, " B"],
        *,
        weight: float,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss above, and the metrics `clip_distance` (the mean square) and `clip_similarity`.

        Args:
          own: the loss without this.
          arrays: see the class.
          logits: of the words of the references.
          tokens, lengths: the references.
          weight: lambda_clip.
        """
        mask = length_mask(lengths, tokens.shape[1]) > 0
        wide = jnp.promote_types(logits.dtype, jnp.float32)
        probabilities = jax.nn.softmax(logits.astype(wide), axis=-1)
        reference = jax.lax.stop_gradient(self.embed(arrays, tokens, mask))
        caption = self.embed(arrays, jnp.argmax(logits, axis=-1), mask, probabilities)
        distance = jnp.mean(jnp.square(caption - reference))
        cosines = jnp.sum(unit_length(caption) * unit_length(reference), axis=-1)
        total = (own + weight * distance) / (1.0 + weight)
        metrics = {"clip_distance": distance, "clip_similarity": jnp.mean(cosines), "loss": total}
        return total, metrics

    def embed(
        self,
        arrays: Mapping[str, Any],
        tokens: Int[Array, "B T"],
        mask: Array,
        probabilities: Float[Array, "B T V"] | None = None,
        *,
        straight_through: bool = True,
    ) -> Float[Array, "B N"]:
        """CLIP's embedding of captions.

        Args:
          arrays: see the class.
          tokens: words.
          mask: True for the tokens of a caption, [B T].
          probabilities: of all words at each place; None: no gradient reaches any.
          straight_through: False reads the mixture of words in the forward pass too, in the places
            of the pieces of `tokens`: the function whose gradient the backward pass is.
        """
        table: WordPieces = arrays["pieces"]
        variables = arrays["variables"]
        number = jnp.where(mask, table.counts[tokens], 0)  # [B T]
        places = jnp.arange(table.pieces.shape[1])[None, None]
        unused = (places >= number[..., None]).reshape(len(tokens), -1)
        # A stable sort moves the pieces that there are to the front, in their order.
        order = jnp.argsort(unused, axis=1, stable=True)[:, : self.room]
        room = order.shape[1]
        ids = jnp.take_along_axis(table.pieces[tokens].reshape(unused.shape), order, axis=1)
        last = jnp.minimum(jnp.sum(number, axis=1), room)[:, None]
        place = jnp.arange(room + 2)[None]
        ids = jnp.pad(ids, ((0, 0), (1, 1)))
        ids = jnp.where(place > last, self.end, jnp.where(place == 0, self.start, ids))
        embedded = None
        if probabilities is not None:
            words = variables["params"]["token_embedding"]
            mixed = _mixtures(probabilities, words, table).reshape(*unused.shape, -1)
            mixed = jnp.take_along_axis(mixed, order[..., None], axis=1)
            mixed = jnp.pad(mixed, ((0, 0), (1, 1), (0, 0)))
            read = words[ids]
            if straight_through:
                mixed = read + (mixed - jax.lax.stop_gradient(mixed))
            embedded = jnp.where(((place > 0) & (place <= last))[..., None], mixed, read)
        encoded: Any = self.net.apply(variables, ids, embedded=embedded)
        found: Float[Array, "B N"] = encoded.embedding
        return found


def _mixtures(
    probabilities: Float[Array, "B T V"], words: Float[Array, "U D"], table: WordPieces
) -> Float[Array, "B T M D"]:
    """Of each place and each number j of a piece: sum over words of p E[piece j]."""
    found = [
        probabilities[..., having] @ words[table.pieces[having, place]]
        for place, having in enumerate(table.having)
    ]
    return jnp.stack(found, axis=2)
