"""Pictures without captions: where they are found, in which split, and by which licence."""

import json

import numpy as np
import pytest
from PIL import Image

from capjax.data.inpainting.examples import load_pictures
from capjax.data.inpainting.settings import PictureConfig
from capjax.data.inpainting.sources import read_pictures

LICENCES = [{"id": 4, "name": "BY"}, {"id": 6, "name": "BY-ND"}]


def draw(path, size=(40, 24), value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


def keys(records):
    return [record.key for record in records]


def coco(folder, split, licences):
    """A COCO file of pictures with these licences, and the pictures."""
    images = [
        {"id": number, "file_name": f"{split}{number}.png", "license": licence}
        for number, licence in enumerate(licences)
    ]
    for image in images:
        draw(folder / "images" / image["file_name"])
    path = folder / f"instances_{split}.json"
    path.write_text(json.dumps({"images": images, "licenses": LICENCES, "annotations": []}))
    return path


def test_a_folder_is_read_with_all_below_and_divided_by_names(tmp_path):
    for number in range(20):
        draw(tmp_path / f"{number % 3}/{number}.png")
    (tmp_path / "note.txt").write_text("no picture")
    found = read_pictures(PictureConfig(images=str(tmp_path), val_share=0.3))
    assert len(found.train) + len(found.validation) == 20
    assert 0 < len(found.validation) < 20
    again = read_pictures(PictureConfig(images=str(tmp_path), val_share=0.3))
    assert again == found
    assert any("drawn by their names" in note for note in found.notes)


def test_folders_of_splits_are_the_splits(tmp_path):
    draw(tmp_path / "train/a/1.png")
    draw(tmp_path / "train/b/2.png")
    draw(tmp_path / "val/3.png")
    draw(tmp_path / "thumbnails/4.png")
    found = read_pictures(PictureConfig(images=str(tmp_path)))
    assert keys(found.train) == ["train/a/1.png", "train/b/2.png"]
    assert keys(found.validation) == ["val/3.png"]


def test_places_by_its_folders(tmp_path):
    draw(tmp_path / "places365/data_large/a/abbey/1.png")
    draw(tmp_path / "places365/val_large/1.png")
    found = read_pictures(PictureConfig(name="places365", root=str(tmp_path)))
    assert keys(found.train) == ["data_large/a/abbey/1.png"]
    assert keys(found.validation) == ["val_large/1.png"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("list_eval_partition.txt", "000001.png 0\n000002.png 1\n000003.png 2\n"),
        ("list_eval_partition.csv", "image_id,partition\n000001.png,0\n000002.png,1\n"),
    ],
)
def test_celeba_by_its_partitions(tmp_path, file, text):
    for number in (1, 2, 3):
        draw(tmp_path / f"celeba/img_align_celeba/00000{number}.png")
    (tmp_path / "celeba" / file).write_text(text)
    found = read_pictures(PictureConfig(name="celeba", root=str(tmp_path)))
    assert keys(found.train) == ["000001.png"]
    assert keys(found.validation) == ["000002.png"]
    (tmp_path / "celeba" / file).write_text(text + "000004.png 7\n")
    with pytest.raises(ValueError, match=r"got '000004.png 7'; expected a file name and 0"):
        read_pictures(PictureConfig(name="celeba", root=str(tmp_path)))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"celeba/img_align_celeba/.*\n.*\n.*mmlab"):
        read_pictures(PictureConfig(name="celeba", root=str(tmp_path)))


def test_licences_choose(tmp_path):
    paths = [coco(tmp_path, "train", [4, 6, 4]), coco(tmp_path, "val", [6, 4])]
    config = PictureConfig(
        images=str(tmp_path / "images"), annotations=",".join(map(str, paths)), licences="4"
    )
    found = read_pictures(config)
    assert keys(found.train) == ["train0.png", "train2.png"]
    assert keys(found.validation) == ["val1.png"]
    assert found.notes[0] == "by data.licences, 3 of 5 photographs are used: BY 3"
    assert found.origin["licences"] == "4"
    config.licences = "5"
    with pytest.raises(ValueError, match=r"names \[5\]; the files know 4: BY; 6: BY-ND"):
        read_pictures(config)
    config.annotations = ""
    with pytest.raises(ValueError, match=r"name such files of the pictures in data.annotations"):
        read_pictures(config)


def test_the_shared_photographs_that_may_be_changed_and_given_on(shared_data):
    config = PictureConfig(name="coco_shared", root=str(shared_data), licences="4,5,7")
    found = load_pictures(config)
    assert len(found.train) == 567
    assert len(found.validation) == 92


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "got data.name='' and data.images=''; set one of them"),
        ({"name": "celeba", "licences": "4;5"}, "expected ids of COCO's licences"),
        ({"name": "celeba", "side": 60}, "expected a multiple of 8"),
        ({"name": "celeba", "resize": "shorter"}, "'shorter' needs a size"),
        ({"name": "scenes", "keep_megabytes": 64}, "keep_megabytes=64 has no effect on scenes"),
        ({"name": "scenes", "licences": "4"}, "licences='4' has no effect on scenes; leave it at"),
        ({"name": "celeba", "grow": 3}, "data.grow=3 has no effect on photographs; leave it at 5"),
        ({"name": "scenes"}, "set data.train_images and data.validation_images"),
    ],
)
def test_settings_without_meaning_are_refused(settings, expected):
    with pytest.raises(ValueError, match=expected):
        PictureConfig(**settings).check()
