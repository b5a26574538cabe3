"""A small captioner made and saved by Keras, and what it says, for tests/weights.

    KERAS_BACKEND=jax python -m tests.golden.keras_captioner   # writes the .h5.gz, .npz and .txt

EfficientNetV2 of three stages at 32x32 and a merge model of 12 entries, every weight random, batch
statistics included. Made with Keras 3.15 on JAX.
"""

import gzip
import tempfile
from pathlib import Path

import numpy as np

from capjax.encoders.efficientnet import Size, Stage

MODEL = Path(__file__).with_name("keras_captioner.h5.gz")
OUTPUTS = Path(__file__).with_name("keras_captioner.npz")
WORDS = Path(__file__).with_name("keras_captioner.txt")

SIDE = 32
TINY = Size(
    stem=8,
    top=64,
    stages=(
        Stage(fused=True, expand=1, stride=1, channels=8, blocks=1),
        Stage(fused=True, expand=2, stride=2, channels=8, blocks=1),
        Stage(fused=False, expand=2, stride=2, channels=16, blocks=2),
    ),
    native=SIDE,
)
WIDTH = 0.05  # Keras multiplies its 1280 top channels, and those below, by this
ENTRIES = ("startseq", "endseq", "a", "man", "dog", "on", "the", "beach", "red", "unk", "runs")
CAPTIONS = ("a dog on the beach", "the man runs", "a red red man")
LONGEST = 7


def pixels() -> np.ndarray:
    """RGB images on the 0..255 scale, one a caption."""
    shape = (len(CAPTIONS), SIDE, SIDE, 3)
    return np.random.RandomState(3).randint(0, 256, shape).astype(np.float32)


def steps() -> tuple[np.ndarray, np.ndarray]:
    """(image, padded row numbers of the words before) of every word of every caption."""
    number = {word: row for row, word in enumerate(ENTRIES, start=1)}
    images, before = [], []
    for image, caption in enumerate(CAPTIONS):
        rows = [number[word] for word in f"startseq {caption} endseq".split()]
        for length in range(1, len(rows)):
            images.append(image)
            before.append([0] * (LONGEST - length) + rows[:length])
    return np.array(images), np.array(before)


def build():
    """The model, with random weights."""
    import keras
    from keras import layers
    from keras.src.applications.efficientnet_v2 import EfficientNetV2

    keras.backend.clear_session()
    encoder = EfficientNetV2(
        width_coefficient=WIDTH,
        depth_coefficient=1.0,
        default_size=SIDE,
        blocks_args=_blocks(),
        name="efficientnetv2-l",
        include_top=False,
        pooling="avg",
        weights=None,
        input_shape=(SIDE, SIDE, 3),
    )
    image = layers.Input((SIDE, SIDE, 3))
    seen = layers.Dense(6, activation="relu")(layers.Dropout(0.4)(encoder(image)))
    words = layers.Input((LONGEST,))
    embedded = layers.Embedding(len(ENTRIES) + 1, 5, mask_zero=True)(words)
    read = layers.LSTM(6)(layers.Dropout(0.4)(embedded))
    joined = layers.Dense(7, activation="relu")(layers.add([seen, read]))
    model = keras.Model([image, words], layers.Dense(len(ENTRIES) + 1, "softmax")(joined))
    random = np.random.RandomState(4)
    for weight in model.weights:
        weight.assign(_random(weight.path.rsplit("/", 1)[-1], tuple(weight.shape), random))
    return model


def _blocks() -> list[dict]:
    blocks, inputs = [], TINY.stem
    for stage in TINY.stages:
        blocks.append(
            {
                "kernel_size": 3,
                "num_repeat": stage.blocks,
                "input_filters": int(inputs / WIDTH),
                "output_filters": int(stage.channels / WIDTH),
                "expand_ratio": stage.expand,
                "se_ratio": 0 if stage.fused else 0.25,
                "strides": stage.stride,
                "conv_type": int(stage.fused),
            }
        )
        inputs = stage.channels
    return blocks


def _random(leaf: str, shape: tuple[int, ...], random: np.random.RandomState) -> np.ndarray:
    if leaf in ("gamma", "moving_variance"):
        return random.uniform(0.5, 1.5, shape)
    if leaf in ("beta", "moving_mean", "bias"):
        return 0.3 * random.standard_normal(shape)
    gain = 4 if len(shape) == 2 else 2  # or all words would be about as likely
    return random.standard_normal(shape) * np.sqrt(gain**2 / 2 / np.prod(shape[:-1]))


def main() -> None:
    """Writes the model, its words and the log-probabilities of every step."""
    model = build()
    images, before = steps()
    probabilities = np.asarray(model([pixels()[images], before]))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.h5")
        packed = gzip.compress((Path(folder) / "model.h5").read_bytes(), mtime=0)
    MODEL.write_bytes(packed)
    WORDS.write_text("".join(f"{word}\n" for word in ENTRIES))
    np.savez_compressed(OUTPUTS, log_probabilities=np.log(probabilities))


if __name__ == "__main__":
    main()
