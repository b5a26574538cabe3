"""Caption-guided saliency from a clip's file to its maps, against PyTorch and FFmpeg's program."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from capjax import api
from capjax.captioner import Captioner, build_net
from capjax.decoders import S2VT
from capjax.decoding import Greedy
from capjax.encoders import ConvNet
from capjax.text.vocabulary import SPECIALS, Vocabulary
from capjax.types import Preprocessing
from tests.golden import clip_maps as golden

pytest.importorskip("av", reason="needs the extra `video`")
TEXT = Vocabulary((*SPECIALS, *golden.WORDS))
RESAMPLE = {"triangle": "bilinear", "cubic": "bicubic"}


def captioner_of(film):
    """The captioner that `golden` writes out."""
    preprocessing = Preprocessing(
        (golden.SIDE, golden.SIDE),
        resize="crop" if film.shorter else "squash",
        shorter=film.shorter or None,
        resample=RESAMPLE[film.filter],
        frames=golden.FRAMES,
    )
    encoder = ConvNet(widths=(8, golden.DEPTH), residuals=(0, 1))
    sizes = {"hidden": golden.HIDDEN, "embedding": golden.EMBEDDING}
    decoder = S2VT(TEXT.size, golden.DEPTH, **sizes, scan="frames")
    variables = traverse_util.unflatten_dict(
        {name: jnp.asarray(value) for name, value in golden.weights().items()}, sep="/"
    )
    return Captioner(build_net(encoder, decoder, preprocessing), variables, TEXT, preprocessing)


def explained(film, path):
    """What a user is given for a clip's file."""
    (found,) = api.explain(
        captioner_of(film),
        path,
        methods=("caption_guided", "caption_guided_kl"),
        query=golden.QUERY,
        decoding=Greedy(),
        max_len=2,
    )
    assert found.explained.sentence.tokens == golden.TOKENS
    return found


def compare(found, expected, places):
    """Maps are minus the losses, of every word but the end token."""
    np.testing.assert_allclose(found.seconds, expected["seconds"], atol=1e-3)
    for method, key in (("caption_guided", "loss"), ("caption_guided_kl", "kl")):
        own, words = found[method], len(golden.TOKENS) - 1
        assert own.maps.shape == (words, golden.FRAMES, *golden.GRID)
        maps = own.maps.reshape(words, golden.FRAMES, -1)[..., places]
        np.testing.assert_allclose(-maps, expected[key][:words], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            -own.frame_maps, expected[f"frame_{key}"][:words], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("name", golden.FILMS)
def test_from_the_file_to_its_maps(name):
    with np.load(golden.OUTPUTS) as archive:
        keys = [key for key in archive.files if key.startswith(f"{name}_")]
        expected = {key.removeprefix(f"{name}_"): archive[key] for key in keys}
    assert expected["frame_loss"].std(axis=1).max() > 0.01  # another frame would show
    film = golden.FILMS[name]
    compare(explained(film, golden.FOLDER / film.file), expected, slice(None, None, golden.SPARSE))


@pytest.mark.slow
@pytest.mark.parametrize("film", [*golden.FILMS.values(), golden.PHONE], ids=lambda film: film.file)
def test_parity_with_pytorch_and_ffmpeg(film, tmp_path):
    """Every position, of clips that FFmpeg's program writes and reads here."""
    pytest.importorskip("torch")
    pytest.importorskip("imageio_ffmpeg")
    path, places = tmp_path / film.file, range(golden.GRID[0] * golden.GRID[1])
    golden.write_film(film, path)
    compare(explained(film, path), golden.maps_of(film, path, places), slice(None))
