"""Boxes and photographs of two frames of reference: turned by EXIF, of another shape, outside."""

import json

import numpy as np
import pytest
from PIL import Image

from capjax.data.boxes.grounded import BoxSource, EntitySource, check_source
from capjax.data.boxes.instances import read_instances
from capjax.data.boxes.object_words import read_object_words
from capjax.data.captions.records import Record
from capjax.data.pictures.images import layout_of, load_image
from capjax.evaluate import __main__ as evaluate
from tests.data.pictures.test_images import STORED, with_orientation

HEIGHT, WIDTH = 60, 100


def photograph(folder, name, orientation, height=HEIGHT, width=WIDTH):
    with_orientation(folder / name, orientation, height, width)
    return Record(name, folder / name, ("a large red circle",), "val", 0)


def boxes(folder, record, height, width, *places):
    """The source that states this size, with these [x, y, width, height]."""
    images = [{"id": 0, "file_name": record.key, "height": height, "width": width}]
    things = [
        {"id": n, "image_id": 0, "category_id": 1, "bbox": box, "area": 1, "iscrowd": 0}
        for n, box in enumerate(places or [[1, 1, 4, 4]])
    ]
    body = {"images": images, "annotations": things, "categories": [{"id": 1, "name": "circle"}]}
    (folder / "instances.json").write_text(json.dumps(body))
    return BoxSource(read_instances(folder / "instances.json"), read_object_words(None))


def entities(folder, record, height, width, *places):
    """The same as Flickr30k Entities states it."""
    name = record.key.removesuffix(".jpg")
    objects = "".join(
        f"<object><name>1</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for x, y, w, h in places or [[1, 1, 4, 4]]
    )
    for part in ("Sentences", "Annotations"):
        (folder / part).mkdir(exist_ok=True)
    (folder / f"Sentences/{name}.txt").write_text("[/EN#1/other a circle] .\n")
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    (folder / f"Annotations/{name}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    return EntitySource(folder)


@pytest.mark.parametrize("source", [boxes, entities])
@pytest.mark.parametrize("orientation", STORED)
def test_boxes_of_the_stored_pixels_are_refused(tmp_path, source, orientation):
    """Orientations 5 to 8 swap the sides; 2 to 4 do not, so that nothing tells."""
    record = photograph(tmp_path, "a.jpg", orientation)
    told = []
    check_source(source(tmp_path, record, HEIGHT, WIDTH), [record], told.append)
    ambiguous = orientation in (2, 3, 4)
    assert len(told) == ambiguous
    assert all("1 image (a.jpg) turned upright by EXIF" in note for note in told)
    if orientation > 4:
        with pytest.raises(ValueError, match=r"a.jpg \(100x60, boxes in 60x100\)\) turned upright"):
            check_source(source(tmp_path, record, WIDTH, HEIGHT), [record], told.append)


def test_a_turned_square_is_told(tmp_path):
    record, told = photograph(tmp_path, "a.jpg", 6, 64, 64), []
    check_source(boxes(tmp_path, record, 64, 64), [record], told.append)
    assert "a.jpg" in told[0] and "EXIF" in told[0]


def test_copies_of_another_size_are_fine_and_other_shapes_are_not(tmp_path):
    record, told = photograph(tmp_path, "a.jpg", 1), []
    for height, width in ((60, 100), (30, 50), (600, 1000), (601, 1000), (20, 33), (7, 12)):
        check_source(boxes(tmp_path, record, height, width), [record], told.append)
    assert told == []
    for height, width in ((60, 80), (100, 60), (600, 1100), (100, 100)):
        with pytest.raises(ValueError, match="of another shape.*give the boxes of these images"):
            check_source(boxes(tmp_path, record, height, width), [record], told.append)


def test_boxes_outside_are_refused_and_those_over_the_edge_told(tmp_path):
    record, told = photograph(tmp_path, "a.jpg", 1), []
    inside = [[0, 0, 100, 60], [-0.7, 0, 5, 5], [95, 55, 6, 6]]
    check_source(boxes(tmp_path, record, HEIGHT, WIDTH, *inside), [record], told.append)
    assert told == []
    check_source(boxes(tmp_path, record, HEIGHT, WIDTH, [90, 5, 30, 5]), [record], told.append)
    assert told == [
        "1 image (a.jpg) with boxes that reach outside of the picture: what is inside counts"
    ]
    for box in ([150, 5, 30, 5], [5, 70, 5, 5], [-20, 5, 10, 10]):
        with pytest.raises(ValueError, match="a.jpg.*lie outside of it"):
            check_source(boxes(tmp_path, record, HEIGHT, WIDTH, box), [record], told.append)


def test_files_that_cannot_be_read_are_left_to_who_reads_them(tmp_path):
    record = photograph(tmp_path, "a.jpg", 1)
    source = boxes(tmp_path, record, HEIGHT, WIDTH)
    record.image.write_bytes(b"")
    check_source(source, [record], pytest.fail)


def test_many_are_counted_and_the_first_named(tmp_path):
    source, records = {}, []
    for number in range(12):
        records.append(photograph(tmp_path, f"{number}.jpg", 6))
        source |= boxes(tmp_path, records[-1], WIDTH, HEIGHT).images
    with pytest.raises(ValueError, match=r"12 images \(0.jpg .*9.jpg .* and 2 more\) turned"):
        check_source(BoxSource(source, read_object_words(None)), records, pytest.fail)


def test_the_command_stops_before_it_decodes(tmp_path, capsys, monkeypatch):
    record = photograph(tmp_path, "a.jpg", 6)
    boxes(tmp_path, record, WIDTH, HEIGHT)
    captions = {
        "images": [{"id": 0, "file_name": "a.jpg"}],
        "annotations": [{"id": 0, "image_id": 0, "caption": "a large red circle"}],
    }
    (tmp_path / "captions_val.json").write_text(json.dumps(captions))
    monkeypatch.setattr(evaluate, "caption_records", pytest.fail)
    options = ["--model=scenes-soft", "--grounding", "--methods=attention"]
    options += [f"--captions={tmp_path}/captions_val.json", f"--boxes={tmp_path}/instances.json"]
    assert evaluate.main([*options, f"--out={tmp_path}/metrics.json"]) == 2
    assert "a.jpg (100x60, boxes in 60x100)) turned upright by EXIF" in capsys.readouterr().err


def test_layouts_agree_with_what_is_read(tmp_path):
    for orientation in STORED:
        record = photograph(tmp_path, f"{orientation}.jpg", orientation)
        layout = layout_of(record.image)
        assert layout.upright == load_image(record.image).shape[:2] == (HEIGHT, WIDTH)
        assert layout.turned == (orientation > 1)
        with Image.open(record.image) as image:
            assert layout.stored == np.asarray(image).shape[:2]
