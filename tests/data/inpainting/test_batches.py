"""Parts of pictures: where they are cut, and that a row depends on its place alone."""

import itertools

import numpy as np
import pytest
from PIL import Image

from capjax.data.batches.pipeline import Share
from capjax.data.inpainting.batches import part_batches
from capjax.data.inpainting.crops import Crops, Fit
from capjax.data.inpainting.scene_holes import SceneHoles
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.scenes.still import scene, scene_without

SIDE = 8


def numbered(number):
    """A picture whose pixels say where they are, and in which picture."""
    rows, columns = np.mgrid[:12, :20]
    return np.stack([rows, columns, np.full((12, 20), number)], axis=-1).astype(np.uint8)


def batches(count=6, *, size=4, start=0, **options):
    stream = part_batches(
        options.pop("parts", Crops(numbered, SIDE)),
        count,
        batch_size=size,
        seed=3,
        start=start,
        **options,
    )
    return stream


def rows(stream, batches):
    """Position -> picture of so many batches."""
    found = {}
    for batch in itertools.islice(stream, batches):
        found.update(zip(batch["position"].tolist(), batch["image"], strict=True))
    stream.close()
    return found


def test_a_row_is_a_function_of_its_place():
    """Whatever the batch size, the start and the number of processes."""
    whole = rows(batches(size=4), 6)
    assert list(whole) == list(range(24))
    others = [
        rows(batches(size=8), 3),
        rows(batches(size=4, start=3), 3),
        rows(batches(size=4, share=Share(1, 2)), 6),
    ]
    for other in others:
        assert other
        for position, picture in other.items():
            np.testing.assert_array_equal(picture, whole[position])


def test_every_picture_once_an_epoch_and_other_parts_in_the_next():
    whole = rows(batches(), 6)
    seen = [int(whole[position][0, 0, 2]) for position in range(24)]
    assert all(sorted(seen[first : first + 6]) == list(range(6)) for first in (0, 6, 12, 18))
    corners = {tuple(picture[0, 0, :2]) for picture in whole.values()}
    assert len(corners) > 12
    mirrored = [picture[0, 0, 1] > picture[0, 1, 1] for picture in whole.values()]
    assert 0 < sum(mirrored) < 24


def test_the_fixed_part_is_the_middle():
    picture = Crops(numbered, SIDE)(np.array([5]))["image"][0]
    np.testing.assert_array_equal(picture, numbered(5)[2:10, 6:14])


def test_a_picture_that_cannot_be_read_is_replaced_by_the_next():
    def load(number):
        if number == 2:
            raise UnreadableFileError("two")
        return numbered(number)

    whole = rows(batches(), 6)
    replaced = {}
    for batch in itertools.islice(batches(parts=Crops(load, SIDE)), 6):
        for row, number in enumerate(batch["replaced"].tolist()):
            position = int(batch["position"][row])
            if number >= 0:
                replaced[position] = int(batch["image"][row, 0, 0, 2])
            else:
                np.testing.assert_array_equal(batch["image"][row], whole[position])
    expected = {p: picture for p, picture in whole.items() if picture[0, 0, 2] == 2}
    assert set(replaced) == set(expected) and 2 not in replaced.values()


@pytest.mark.parametrize(
    ("fit", "size"),
    [
        (Fit(64), (90, 120)),
        (Fit(128), (128, 171)),
        (Fit(64, "shorter", 72), (72, 96)),
        (Fit(64, "squash"), (64, 64)),
    ],
)
def test_pictures_are_fitted(tmp_path, fit, size):
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(path)
    assert fit.load(path).shape == (*size, 3)


def test_a_hole_of_a_scene_is_where_its_object_was():
    """Outside the hole the picture is the scene, inside it the scene without the object."""
    parts = SceneHoles("val", 96)
    seen = 0
    for number in range(6):
        found = parts(np.array([number]))
        image, hole = found["image"][0], found["hole"][0]
        whole = scene(number, split="val")
        variants = [
            scene_without(number, (gone,), split="val") for gone in range(len(whole.objects))
        ]
        height, width = whole.image.shape[:2]
        for top, left in itertools.product(range(height - 95), range(width - 95)):
            window = np.s_[top : top + 96, left : left + 96]
            for gone, variant in zip(whole.objects, variants, strict=True):
                if np.array_equal(variant[window], image) and hole[gone.mask[window]].all():
                    np.testing.assert_array_equal(whole.image[window][~hole], image[~hole])
                    seen += 1
    assert seen >= 6
    drawn = {parts.drawn(0, np.random.default_rng(n))["hole"].tobytes() for n in range(8)}
    assert len(drawn) > 4
