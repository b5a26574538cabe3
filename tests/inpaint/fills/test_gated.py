"""The trained fill, with a tiny generator of random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.inpaint.fills.contract import without_holes
from capjax.inpaint.fills.gated import Gated
from capjax.inpaint.generator import Generator
from capjax.inpaint.inpainter import Inpainter
from capjax.inpaint.training.settings import HoleConfig

NET = Generator(cnum=4)


def weights(seed: int):
    inputs = [jax.ShapeDtypeStruct((1, 8, 8, depth), jnp.float32) for depth in (3, 1)]
    shapes = jax.eval_shape(NET.init, jax.random.key(0), *inputs)
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda own: 0.3 * draw.standard_normal(own.shape, np.float32), shapes)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inpainter")
    Inpainter(NET, weights(0), (16, 16)).save(folder)
    return str(folder)


def test_sides_are_mirrored_up_to_multiples_of_eight_and_batches_change_nothing(saved):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (3, 13, 11, 3)).astype(np.uint8)
    masks = np.zeros((3, 13, 11), bool)
    for row in range(3):
        masks[row, 2 : 6 + row, 3:8] = True
    fill = Gated(checkpoint=saved, batch=1)
    filled = fill(images, masks)
    np.testing.assert_array_equal(filled[~masks], images[~masks])
    assert len(np.unique(filled[masks])) > 3
    ends = ((0, 0), (0, 3), (0, 5))
    whole = np.pad(without_holes(images, masks), (*ends, (0, 0)), mode="symmetric")
    alone = fill(whole[2:], np.pad(masks, ends, mode="symmetric")[2:])  # the same program
    np.testing.assert_array_equal(alone[0, :13, :11][masks[2]], filled[2][masks[2]])


def test_what_decides_a_picture_is_described(saved, tmp_path):
    fill = Gated(checkpoint=saved)
    assert (fill.trained.side, fill.trained.hole) == (16, 8)
    card = {"holes": vars(HoleConfig(rectangle=0.25, shrink=0.0))}
    Inpainter(NET, weights(1), (16, 16), card).save(tmp_path)
    assert Gated(checkpoint=str(tmp_path)).trained.hole == 4
    described = fill.describe()
    assert described == Gated(checkpoint=saved, batch=3).describe()
    assert described != Gated(checkpoint=str(tmp_path)).describe()
    assert described != Gated(checkpoint=saved, precision="bfloat16").describe()


def test_without_weights_it_is_refused_by_name():
    with pytest.raises(ValueError, match=r"needs weights: give gated\.checkpoint"):
        Gated().check()
    with pytest.raises(FileNotFoundError, match="is no inpainter"):
        Gated(checkpoint="nowhere").check()
    with pytest.raises(ValueError, match=r"gated\.batch=0"):
        Gated(batch=0)
