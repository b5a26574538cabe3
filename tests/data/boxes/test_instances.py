"""COCO instances: the fixture word for word, and masks against their definitions."""

import json

import numpy as np
import pytest

from capjax.data.boxes.instances import decode_run_lengths, fill_polygon, read_instances

RUN_LENGTHS = {"size": [2, 3], "counts": [1, 2, 2, 1]}
MASK = [[0, 1, 0], [1, 0, 1]]
FILE = {
    "images": [{"id": 5, "file_name": "x.jpg", "width": 6, "height": 4}],
    "annotations": [
        {
            "id": 1,
            "image_id": 5,
            "category_id": 18,
            "bbox": [1, 1, 2, 2],
            "area": 4,
            "iscrowd": 0,
            "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]],
        },
        {
            "id": 2,
            "image_id": 5,
            "category_id": 18,
            "bbox": [0, 0, 6, 4],
            "area": 7,
            "iscrowd": 1,
            "segmentation": {"size": [4, 6], "counts": [3, 5, 14, 2]},
        },
    ],
    "categories": [{"id": 18, "name": "dog"}],
}


def read(tmp_path, body):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(body))
    return read_instances(path)


def test_polygons_run_lengths_and_crowds(tmp_path):
    image = read(tmp_path, FILE)["x.jpg"]
    assert (image.image_id, image.height, image.width) == (5, 4, 6)
    dog, crowd = image.instances
    assert (dog.category, dog.box, dog.area) == ("dog", (1, 1, 2, 2), 4)
    assert [item.id for item in image.instances if not item.crowd] == [1]
    # A filter at a tenth of the image drops it: 4 of 24 pixels.
    assert dog.area / (image.height * image.width) == pytest.approx(0.167, abs=1e-3)
    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:3] = True
    np.testing.assert_array_equal(dog.mask(4, 6), mask)
    down_columns = np.zeros(24, bool)
    down_columns[3:8] = down_columns[22:] = True
    np.testing.assert_array_equal(crowd.mask(4, 6), down_columns.reshape(6, 4).T)
    with pytest.raises(ValueError, match=r"annotation 2 is \(4, 6\), its image \(6, 4\)"):
        crowd.mask(6, 4)


def test_boxes_without_masks(tmp_path):
    boxes_only = json.loads(json.dumps(FILE))
    for annotation in boxes_only["annotations"]:
        annotation["segmentation"] = []
    assert [i.mask(4, 6) for i in read(tmp_path, boxes_only)["x.jpg"].instances] == [None, None]


def test_run_lengths_plain_and_compressed():
    np.testing.assert_array_equal(decode_run_lengths(RUN_LENGTHS), MASK)
    np.testing.assert_array_equal(decode_run_lengths({"size": [2, 3], "counts": "122O"}), MASK)
    with pytest.raises(ValueError, match="add up to 6, not to 2x2"):
        decode_run_lengths({"size": [2, 2], "counts": [1, 2, 2, 1]})


def compress(counts):
    """The published encoder, written out: differences from the fourth value, six-bit groups."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits, value = value & 0x1F, value >> 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr((bits | (0x20 if more else 0)) + 48)
    return text


def test_compressed_run_lengths_invert_the_encoder():
    assert compress(RUN_LENGTHS["counts"]) == "122O"
    mask = np.random.default_rng(0).random((60, 70)) < 0.02
    mask[10:50, 20:60] = True
    flat = np.concatenate([[False], mask.T.ravel(), [True]])
    edges = np.flatnonzero(np.diff(flat.astype(int)) != 0)
    counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    counts = counts[:-1] if counts[-1] == 0 else counts
    decoded = decode_run_lengths({"size": [60, 70], "counts": compress(counts)})
    np.testing.assert_array_equal(decoded, mask)


def test_polygon_by_winding():
    """A star-shaped polygon against the angle each pixel centre sees it under."""
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    radii = np.array([9, 4, 8, 5, 9, 3, 7, 4, 8])
    corners = np.stack([12 + radii * np.cos(angles), 10 + radii * np.sin(angles)], 1)
    rows, columns = np.mgrid[:20, :24] + 0.5
    centres = np.stack([columns, rows], -1)[:, :, None]
    seen = corners - centres
    turn = np.arctan2(seen[..., 1], seen[..., 0])
    turn = np.diff(np.concatenate([turn, turn[..., :1]], -1), axis=-1)
    winding = ((turn + np.pi) % (2 * np.pi) - np.pi).sum(-1) / (2 * np.pi)
    np.testing.assert_array_equal(fill_polygon(corners.ravel(), 20, 24), np.abs(winding) > 0.5)


def test_a_captions_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no COCO instances JSON: .*lacks 'categories'"):
        read(tmp_path, {"images": [], "annotations": []})


def shoelace(polygon):
    x, y = np.reshape(polygon, (-1, 2)).T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def test_the_shared_photographs(shared_data):
    found = read_instances(shared_data / "coco" / "annotations" / "instances_val.json")
    assert len(found) == 351
    for image in found.values():
        for item in image.instances:
            x, y, width, height = item.box
            assert -1 <= x <= x + width <= image.width + 1
            assert -1 <= y <= y + height <= image.height + 1
            mask = item.mask(image.height, image.width)
            if mask is not None and not item.crowd and mask.sum() > 200:
                rows, columns = np.nonzero(mask)
                assert x - 1 <= columns.min() <= columns.max() <= x + width
                assert y - 1 <= rows.min() <= rows.max() <= y + height
                assert mask.sum() == pytest.approx(sum(map(shoelace, item.segmentation)), rel=0.1)
