import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from capjax import rng
from capjax.inpaint.masks import Holes, Stroke, draw_holes, draw_rectangles, draw_strokes, paint
from capjax.inpaint.training.settings import HoleConfig

SIZE = (40, 32)
COUNT = 200
HOLES = Holes(rectangle=(20, 16), shrink=3, margin=2, width=(4, 9))


@jax.jit
def draw(keys):
    return tuple(each(keys, SIZE, HOLES) for each in (draw_holes, draw_rectangles, draw_strokes))


def keys(ids):
    return rng.per_example(jax.random.key(3), jnp.asarray(ids))


MASKS = functools.cache(lambda: [np.asarray(each) for each in draw(keys(range(COUNT)))])


def test_values_and_dependence_on_the_key_alone():
    masks, rectangles, strokes = MASKS()
    np.testing.assert_array_equal(masks[..., 0] > 0, rectangles | strokes)
    assert masks.shape == (COUNT, *SIZE, 1) and masks.dtype == np.float32
    assert set(np.unique(masks)) == {0, 1}
    assert masks.any(axis=(1, 2, 3)).all() and strokes.any(axis=(1, 2)).all()
    assert len(np.unique(masks.reshape(COUNT, -1), axis=0)) == COUNT
    again = draw(keys([COUNT - 1 - number for number in range(COUNT)]))
    np.testing.assert_array_equal(again[0], masks[::-1])


def test_rectangles_keep_to_their_ranges_and_reach_them():
    _, rectangles, _ = MASKS()
    for axis, (length, side) in enumerate(zip(SIZE, HOLES.rectangle, strict=True)):
        lines = rectangles.any(axis=2 - axis)
        first, last = lines.argmax(axis=1), length - 1 - lines[:, ::-1].argmax(axis=1)
        np.testing.assert_array_equal(lines.sum(axis=1), last - first + 1)
        assert set(lines.sum(axis=1)) == {side - 2 * less for less in range(4)}
        centre = (first + last + 1 - side) // 2  # the start, before it shrank
        assert set(centre) == set(range(2, length - side - 2))


def by_hand(generator, size, holes):
    """methods §3.6 with NumPy and Pillow."""
    height, width = size
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    for _ in range(generator.integers(holes.strokes[0], holes.strokes[1] + 1)):
        vertices = generator.integers(holes.vertices[0], holes.vertices[1] + 1)
        low = 2 * np.pi / 5 - generator.uniform(0, 2 * np.pi / 15)
        high = 2 * np.pi / 5 + generator.uniform(0, 2 * np.pi / 15)
        points = [(generator.integers(0, width), generator.integers(0, height))]
        mean = np.sqrt(height**2 + width**2) / 8
        for number in range(vertices):
            angle = generator.uniform(low, high)
            angle = angle if number % 2 else 2 * np.pi - angle
            step = np.clip(generator.normal(mean, mean // 2), 0, 2 * mean)
            x = np.clip(points[-1][0] + step * np.cos(angle), 0, width)
            y = np.clip(points[-1][1] + step * np.sin(angle), 0, height)
            points.append((int(x), int(y)))
        draw_line(pen, points, int(generator.uniform(*holes.width)))
    return np.asarray(canvas)


def draw_line(pen, points, width):
    points = [tuple(map(int, point)) for point in points]
    pen.line(points, fill=1, width=width)
    for x, y in points:
        radius = width // 2
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def test_strokes_cover_as_much_as_drawn_by_hand():
    _, _, strokes = MASKS()
    generator = np.random.default_rng(0)
    theirs = np.array([by_hand(generator, SIZE, HOLES) for _ in range(COUNT)])
    areas = [each.mean(axis=(1, 2)) for each in (strokes, theirs)]
    error = np.sqrt(sum(each.var() / COUNT for each in areas))
    assert 0.05 < areas[1].mean() < 0.5
    # Borders are rounded in other ways, by up to a pixel of these thin strokes.
    assert abs(areas[0].mean() - areas[1].mean()) < 3 * error + 0.1 * areas[1].mean()
    np.testing.assert_allclose(areas[0].std(), areas[1].std(), rtol=0.2)
    # Where they lie: rows and columns, whose part in a stroke differs.
    for axis in (1, 2):
        spans = [each.any(axis=axis).sum(axis=1) for each in (strokes, theirs)]
        error = np.sqrt(sum(each.var() / COUNT for each in spans))
        assert abs(spans[0].mean() - spans[1].mean()) < 3 * error + 1


def test_a_stroke_is_drawn_as_pillow_draws_it():
    points = [(10.0, 20.0), (50.0, 100.0), (50.0, 30.0), (0.0, 0.0), (5.0, 90.0)]
    stroke = Stroke(jnp.asarray(points), jnp.asarray(3), jnp.asarray(12.0))
    found = np.asarray(jax.jit(paint, static_argnums=1)(stroke, (64, 128)))
    canvas = Image.new("1", (128, 64))
    draw_line(ImageDraw.Draw(canvas), [point[::-1] for point in points[:4]], 12)
    grey = canvas.convert("L")
    wider, thinner = (
        np.asarray(grey.filter(kind(3))) > 0
        for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter)
    )
    assert thinner.any() and not (thinner & ~found).any() and not (found & ~wider).any()


def test_scaled_holes_and_what_does_not_fit():
    assert HoleConfig().pixels(256) == Holes()
    small = HoleConfig().pixels(64)
    assert small.rectangle == (32, 32) and small.shrink == 4 and small.width == (3, 10)
    assert HoleConfig().pixels(8).rectangle == (4, 4)
    with pytest.raises(ValueError, match=r"does not fit into a picture of \(64, 64\)"):
        draw_rectangles(keys([0]), (64, 64), Holes())
    with pytest.raises(ValueError, match="something to be left"):
        Holes(rectangle=(30, 40))
    with pytest.raises(ValueError, match=r"strokes=\(3, 2\)"):
        Holes(strokes=(3, 2))
