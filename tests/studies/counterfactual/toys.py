"""A captioner whose captions, probabilities and attention are known in closed form.

It says three words: "red" or "nothing", "green" or "nothing", "blue" or "nothing". The log-odds of
a colour are GAIN times (the mean of its channel over all pixels, 0 to 1, less THRESHOLD); at each
word it attends to every cell in proportion to that channel, plus a little.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from capjax.captioner import Captioner, CaptionNet
from capjax.data.objects.region import Region
from capjax.studies.contract import Subject
from capjax.text.vocabulary import SPECIALS, Vocabulary
from capjax.types import Caption, Features, Preprocessing

WORDS = ("red", "green", "blue")
TEXT = Vocabulary((*SPECIALS, "nothing", *WORDS))
SIDE, CELL = 24, 4
GRID = SIDE // CELL
GAIN, THRESHOLD, LITTLE = 200.0, 0.05, 0.01


class Cells(nn.Module):
    """Means over cells of the picture."""

    def __call__(self, images, train=False, remat=False):
        del train, remat
        cut = images.reshape(images.shape[0], GRID, CELL, GRID, CELL, 3)
        return Features.from_grid(cut.mean(axis=(2, 4)))


class Colours(nn.Module):
    """See the module."""

    dtype: str = "float32"

    def start(self, features, length=None):
        del length
        return jnp.zeros(len(features.positions), jnp.int32), features

    def step(self, carry, token, memory):
        del token
        hidden, attention = self._at(carry[:, None], memory)
        return carry + 1, hidden[:, 0], attention[:, 0]

    def _at(self, places, features):
        channels = features.positions[:, 0]  # [B P 3]
        colour = jax.nn.one_hot(jnp.minimum(places, 2), 3)
        odds = GAIN * (colour @ channels.mean(axis=1)[..., None] - THRESHOLD)
        over = places[..., None] >= 3
        said = jnp.concatenate([jnp.full_like(odds, 0.0), colour * odds], axis=-1)
        other = jnp.concatenate([jnp.zeros_like(odds), 1 - colour], axis=-1)
        words = jnp.where(other > 0, -1e9, said)
        end = jnp.where(over, 0.0, -1e9)
        words = jnp.where(over, -1e9, words)
        rest = jnp.full((*odds.shape[:-1], 2), -1e9)
        hidden = jnp.concatenate([rest, end, rest[..., :1], words], axis=-1)
        maps = jnp.einsum("btc,bpc->btp", colour, channels) + LITTLE
        return hidden, (maps / maps.sum(axis=-1, keepdims=True))[:, :, None]

    def __call__(self, features, tokens, keys=None):
        del keys
        places = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        return self._at(places, features)

    def readout(self, hidden):
        return hidden


@functools.cache
def captioner() -> Captioner:
    """It writes greedily, four tokens."""
    preprocessing = Preprocessing((SIDE, SIDE), mean=(0, 0, 0), std=(255, 255, 255))
    net = CaptionNet(Cells(), Colours(), preprocessing.mean, preprocessing.std)
    card = {"decoding": {"method": "greedy", "max_length": 4}}
    found = Captioner(net, {}, TEXT, preprocessing, card)
    vars(found)["hash"] = "toy"  # its parts are not among those that are saved
    return found


def picture(*boxes) -> tuple[np.ndarray, list[Region]]:
    """A black picture with squares (channel, x, y, side) of full colour, and their regions."""
    image, regions = np.zeros((SIDE, SIDE, 3), np.uint8), []
    for channel, x, y, side in boxes:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[y : y + side, x : x + side] = True
        image[mask, channel] = 255
        regions.append(Region(WORDS[channel], mask, "polygon"))
    return image, regions


def subject(name: str, image: np.ndarray) -> Subject:
    """As a shell hands it over; nothing of its caption is read here."""
    return Subject(name, image, image, Caption("", (), (), np.zeros(0), 0.0, True))


def odds(image: np.ndarray) -> np.ndarray:
    """[3] log-odds of the colours, in NumPy."""
    return GAIN * (image.astype(np.float64).mean(axis=(0, 1)) / 255 - THRESHOLD)


def bits(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """[3] what each word of the caption of `before` loses on `after`, in bits."""
    own, there = odds(before), odds(after)
    sign = np.where(own > 0, 1, -1)
    return (np.logaddexp(0, -sign * there) - np.logaddexp(0, -sign * own)) / np.log(2)
