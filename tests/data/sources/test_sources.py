"""Caption files as they come: the fixtures of each format, word for word."""

import hashlib
import json

import pytest

from capjax.data.captions.records import (
    CaptionSet,
    Record,
    missing_images,
)
from capjax.data.captions.splits import Draw
from capjax.data.sources.sources import read_captions, read_folder
from capjax.text.vocabulary import Vocabulary

KARPATHY = """
{"dataset":"coco","images":[
 {"imgid":0,"cocoid":11,"filepath":"val2014","filename":"a.jpg","split":"restval","sentids":[0,1],
  "sentences":[{"imgid":0,"sentid":0,"raw":"A dog runs.","tokens":["a","dog","runs"]},
               {"imgid":0,"sentid":1,"raw":"Dog on grass","tokens":["dog","on","grass"]}]},
 {"imgid":1,"cocoid":12,"filepath":"val2014","filename":"b.jpg","split":"test","sentids":[2],
  "sentences":[{"imgid":1,"sentid":2,"raw":"Two cats","tokens":["two","cats"]}]}]}
"""
TOKENS = "1.jpg#0\tA man , a dog .\n1.jpg#1\tMan\n2.jpg.1#0\tbogus\n"
TABLE = 'image,caption\n1.jpg,"A man , a dog ."\n1.jpg,Man\n'
COCO = {
    "images": [
        {"id": 7, "file_name": "x.jpg", "width": 6, "height": 4},
        {"id": 9, "file_name": "y.jpg", "width": 6, "height": 4},
        {"id": 10, "file_name": "z.jpg", "width": 6, "height": 4},
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "caption": "Two  cats\n"},
        {"id": 2, "image_id": 7, "caption": "A dog"},
        {"id": 3, "image_id": 9, "caption": " "},
    ],
}
INSTANCES = {
    "images": [{"id": 1, "file_name": "x.jpg", "width": 6, "height": 4}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 18,
            "area": 4,
            "iscrowd": 0,
            "bbox": [1, 1, 2, 2],
            "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]],
        },
    ],
    "categories": [{"id": 18, "name": "dog"}],
}


def read(tmp_path, text, name="captions", images=None, **options):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return read_captions(path, images, check_images=False, **options)


def test_karpathy(tmp_path):
    (tmp_path / "val2014").mkdir()
    found = read(tmp_path, KARPATHY, images=tmp_path)
    assert found.format == "Karpathy JSON" and found.rejected == ()
    assert found.records == (
        Record(
            key="val2014/a.jpg",
            image=tmp_path / "val2014" / "a.jpg",
            captions=("A dog runs.", "Dog on grass"),
            split="train",
            image_id=11,
        ),
        Record(
            key="val2014/b.jpg",
            image=tmp_path / "val2014" / "b.jpg",
            captions=("Two cats",),
            split="test",
            image_id=12,
        ),
    )
    assert found.splits == {"train": (1, 2), "test": (1, 1)}


def test_karpathy_with_all_photographs_in_one_folder(tmp_path):
    found = read(tmp_path, KARPATHY, images=tmp_path)
    assert [record.image for record in found] == [tmp_path / "a.jpg", tmp_path / "b.jpg"]


def test_words_of_the_test_split_stay_out_of_the_vocabulary(tmp_path):
    found = read(tmp_path, KARPATHY)

    def words(records):
        return set(Vocabulary.build([c for record in records for c in record.captions]).entries[4:])

    assert words(found.select("train")) == {"a", "dog", "runs", "on", "grass"}
    assert words(found) == words(found.select("train")) | {"two", "cats"}


def test_token_file_rejects_the_bogus_name(tmp_path):
    found = read(tmp_path, TOKENS)
    assert [(r.key, r.captions) for r in found] == [("1.jpg", ("A man , a dog .", "Man"))]
    assert found.rejected == ("line 3: 2.jpg.1 is not the name of an image",)


def test_token_file_with_split_lists(tmp_path):
    lines = [f"{i}.jpg#{k}\tcaption {k}" for i in range(6) for k in range(2)]
    lists = {"train": "0.jpg\n3.jpg\n", "dev": "1.jpg\n", "test": "2.jpg\n99.jpg\n"}
    for split, names in lists.items():
        (tmp_path / f"Flickr_8k.{split}Images.txt").write_text(names)
    found = read(tmp_path, "\r\n".join(lines), name="Flickr8k.token.txt")
    assert {r.key: r.split for r in found} == {
        "0.jpg": "train",
        "1.jpg": "val",
        "2.jpg": "test",
        "3.jpg": "train",
    }
    assert found.rejected == (
        "2 images are in no split list, e.g. 4.jpg",
        "1 names in the split lists have no caption, e.g. 99",
    )
    (tmp_path / "Flickr_8k.testImages.txt").write_text("0.jpg\n")
    with pytest.raises(ValueError, match="belongs to one split"):
        read(tmp_path, "\n".join(lines), name="Flickr8k.token.txt")


def test_table_keeps_commas_in_captions(tmp_path):
    found = read(tmp_path, TABLE)
    assert [(r.key, r.captions) for r in found] == [("1.jpg", ("A man , a dog .", "Man"))]


def test_table_with_quotes_line_breaks_bom_and_a_split_column(tmp_path):
    text = (
        '\ufeffcaption,split,image\r\n"She says ""hi"",\nloud",val,1.png\r\n\r\nMan,val,1.png\r\n'
    )
    found = read(tmp_path, text)
    assert found[0].captions == ('She says "hi", loud', "Man")
    assert found[0].split == "val"


def test_table_with_an_unquoted_comma_names_the_line(tmp_path):
    with pytest.raises(ValueError, match="line 3: expected 2 columns .* got 3; .*double quotes"):
        read(tmp_path, "image,caption\n1.jpg,fine\n1.jpg,a man, a dog\n")


def test_split_by_image_is_deterministic_and_no_caption_crosses(tmp_path):
    rows = [f"{i}.jpg,caption {k}" for k in range(5) for i in range(2000)]
    whole = read(tmp_path, "\n".join(["image,caption", *rows]))
    assert whole.splits == {"all": (2000, 10000)}
    found = whole.divided(Draw())
    assert len(found) == 2000 and all(len(r.captions) == 5 for r in found)
    shares = {split: images / 2000 for split, (images, _) in found.splits.items()}
    assert shares == pytest.approx({"train": 0.8, "val": 0.1, "test": 0.1}, abs=0.02)
    # Other rows, other order: every image stays where it was.
    again = read(tmp_path, "\n".join(["image,caption", *sorted(rows)[:3000]])).divided(Draw())
    before = {r.key: r.split for r in found}
    assert all(before[r.key] == r.split for r in again)
    # As runs divided Flickr8k's table before: thresholds on the first bytes of a digest.
    for record in list(found)[:50]:
        share = int(hashlib.sha256(record.key.encode()).hexdigest()[:16], 16) / 2**64
        assert record.split == ("train" if share < 0.8 else "val" if share < 0.9 else "test")
    assert {r.key: r.split for r in whole.divided(Draw(seed=1))} != before
    halves = whole.divided(Draw(val_share=0.5, test_share=0))
    assert halves.splits["val"][0] / 2000 == pytest.approx(0.5, abs=0.05)
    assert set(halves.splits) == {"train", "val"}
    with pytest.raises(ValueError, match=r"shares 0\.6 for validation and 0\.4 for tests"):
        Draw(val_share=0.6, test_share=0.4)


def test_coco_takes_its_split_from_the_file_name_alone(tmp_path):
    found = read(tmp_path, COCO, name="captions_val2014.json")
    assert [(r.key, r.captions, r.split, r.image_id) for r in found] == [
        ("x.jpg", ("A dog",), "val", 7),
        ("y.jpg", ("Two cats",), "val", 9),
    ]
    assert found.rejected == (
        "1 empty captions of images that have others, first annotation 2 (y.jpg)",
        "z.jpg has no caption",
    )
    assert {r.split for r in read(tmp_path, COCO, name="captions.json")} == {"all"}
    named = {
        "captions_train2017": "train",
        "validation-set": "val",
        "my_dev": "val",
        "testing": "test",
        "trained": None,
        "contest": None,
    }
    for name, split in named.items():
        assert read(tmp_path, COCO, name=f"{name}.json")[0].split == (split or "all")
    with pytest.raises(ValueError, match=r"split 'test'; there are: train \(2 images\)"):
        read(tmp_path, COCO, name="captions_train2014.json", split="test")
    with pytest.raises(ValueError, match="no splits are stated, .*ask for the split 'all'"):
        read(tmp_path, COCO, name="captions.json", split="test")


def test_select_names_the_splits_that_exist(tmp_path):
    assert len(read(tmp_path, KARPATHY, split="test")) == 1
    assert len(read(tmp_path, KARPATHY, split="all")) == 2
    with pytest.raises(ValueError, match=r"split 'val'; there are: train \(1 images\), test"):
        read(tmp_path, KARPATHY, split="val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INSTANCES, "lacks 'caption'.*instances file holds boxes"),
        ([{"image_id": 1, "caption": "a dog"}], "list of results"),
        ({"info": {}, "videos": []}, "fields 'info', 'videos'; expected one of: Karpathy JSON"),
        ('{"images": [', "damaged JSON .*fetch the file again"),
        ({"images": [{"sentences": [], "split": "train"}]}, "image 0 lacks 'filename'"),
        ({"images": [], "annotations": [{"image_id": 3, "caption": "a"}]}, "does not list.* 3"),
        ("height;width\n1;2", "with semicolons and the columns height, width, none of image"),
        ("image\tsize\n1;2", "with tabs and the columns image, size, none of captions"),
        ("once upon a time", "starts with 'once upon a time'; expected one of"),
        ("", "got an empty file"),
    ],
)
def test_other_files_are_refused_with_what_was_expected(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_missing_file_and_missing_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="no caption file at .*expected one of"):
        read_captions(tmp_path / "nothing.json")
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(["image,caption", *(f"{i}.jpg,a dog" for i in range(25))]))
    (tmp_path / "images").mkdir()
    for i in range(5):
        (tmp_path / "images" / f"{i}.jpg").touch()
    with pytest.raises(FileNotFoundError) as caught:
        read_captions(path)
    assert "20 of 25 image files are missing" in str(caught.value)
    assert str(caught.value).count(".jpg") == 10
    assert len(missing_images(read_captions(path, check_images=False))) == 20


def test_one_image_described_twice_is_refused():
    record = Record(key="a.jpg", image=None, captions=(), split="train", image_id=0)
    with pytest.raises(ValueError, match="1 images are described twice"):
        CaptionSet((record, record), "test")


def test_folder_is_read_recursively_in_order(tmp_path):
    foreign = ("__MACOSX/a.png", "b/@eaDir/1.jpg", ".ipynb_checkpoints/a.png", "._a.png")
    ours = ("b/2.JPG", "a.png", "b/1.jpeg", "b/notes.txt", ".hidden.jpg", ".cache/3.jpg")
    for name in (*foreign, *ours):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = read_folder(tmp_path)
    assert [(r.key, r.captions, r.split) for r in found] == [
        ("a.png", (), "all"),
        ("b/1.jpeg", (), "all"),
        ("b/2.JPG", (), "all"),
    ]
    assert found[1].image == tmp_path / "b" / "1.jpeg"
    with pytest.raises(FileNotFoundError, match="no folder at"):
        read_folder(tmp_path / "nothing")
