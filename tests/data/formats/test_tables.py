"""Tables in the dialects that people's programs write, and what is wrong in some of them."""

import csv
import io
import random

import pytest

from capjax.data.formats.separated import SEPARATORS, parse_rows
from capjax.data.sources.sources import read_captions

WANTED = {"one.jpg": ("a red kite, in the rain",), "two.jpg": ('a man with a "blue" hat',)}


def read(tmp_path, content, name="captions.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_captions(path, check_images=False, **options)


def captions(found):
    return {record.key: record.captions for record in found}


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_dialect_of_the_csv_module(tmp_path, separator, quoting, encoding):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator, quoting=quoting)
    writer.writerow(["number", "File_Name", "Caption"])
    for number, (name, own) in enumerate(WANTED.items()):
        writer.writerow([number, name, own[0]])
    assert captions(read(tmp_path, stream.getvalue().encode(encoding))) == WANTED


def test_rows_are_those_of_the_csv_module():
    draw = random.Random(0)
    for _ in range(300):
        cells = ["".join(draw.choices('ab",; |\n\t', k=draw.randrange(6))) for _ in range(6)]
        rows = [["x", *cells[:3]], ["x", *cells[3:]]]
        for separator in SEPARATORS:
            stream = io.StringIO()
            csv.writer(stream, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)
            text = stream.getvalue().replace("\r\n", "\n")
            found = [list(row.cells) for row in parse_rows(text, separator)]
            assert found == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    "header",
    [
        *("image,caption", "image_name,comment", "Image Name,Text", "filename,sentence"),
        *("filepath,captions", "PATH,Description", '"image","caption"', "img_path,raw"),
        "video_id,sentences",
    ],
)
def test_names_of_columns(tmp_path, header):
    assert captions(read(tmp_path, f"{header}\n1.jpg,a dog\n")) == {"1.jpg": ("a dog",)}


def test_of_two_columns_that_may_name_images_the_one_that_does(tmp_path):
    found = read(tmp_path, "id,image,name,path,caption\n7,x,rex,1.jpg,a dog\n")
    assert captions(found) == {"1.jpg": ("a dog",)}
    assert found.format == "CSV table (image, caption)" or "path" in found.format


@pytest.mark.parametrize(
    "names",
    [("caption1", "caption2"), ("caption_0", "caption_1"), ("Text 1", "Text 2"), ("caption",) * 2],
)
def test_several_columns_of_captions(tmp_path, names):
    text = f"image,{','.join(names)},split\n1.jpg,a dog,a hound,dev\n2.jpg,a cat,,train\n"
    found = read(tmp_path, text)
    assert captions(found) == {"1.jpg": ("a dog", "a hound"), "2.jpg": ("a cat",)}
    assert [record.split for record in found] == ["val", "train"]


def test_a_cell_may_hold_a_list(tmp_path):
    rows = (
        """1.jpg,"[""a dog"", ""a hound's""]"\n"""  # JSON
        """2.jpg,"['a cat', \\"a cat's\\"]"\n""".replace('\\"', '""')  # Python
        + "3.jpg,\"['a cow'\n 'a bull']\"\n"  # NumPy
        + "4.jpg,[sic] a horse\n5.jpg,[a horse]\n"
    )
    assert captions(read(tmp_path, f"filename,raw\n{rows}")) == {
        "1.jpg": ("a dog", "a hound's"),
        "2.jpg": ("a cat", "a cat's"),
        "3.jpg": ("a cow", "a bull"),
        "4.jpg": ("[sic] a horse",),
        "5.jpg": ("[a horse]",),
    }


def test_without_a_header(tmp_path):
    wanted = {"1.jpg": ("a dog",), "2.png": ("a cat",)}
    for separator in (*SEPARATORS, " "):
        text = f"1.jpg{separator}a dog\n\n2.png{separator}a cat\n"
        assert captions(read(tmp_path, text, "list.txt")) == wanted
    text = "1.jpg\ta dog\ta hound\n2.png\ta cat\t\n"
    assert captions(read(tmp_path, text)) == {**wanted, "1.jpg": ("a dog", "a hound")}


def test_the_table_of_flickr30k_with_its_broken_row(tmp_path):
    text = (
        "image_name| comment_number| comment\n"
        "1.jpg| 0| Two dogs , one brown .\n"
        '1.jpg| 1| " Dogs " says a sign .\n'
        "2199200615.jpg| 3| A dog .\n"
        "2199200615.jpg| 4   A dog runs across the grass .\n"
    )
    found = read(tmp_path, text, "results.csv")
    assert captions(found) == {
        "1.jpg": ("Two dogs , one brown .", '" Dogs " says a sign .'),
        "2199200615.jpg": ("A dog .", "A dog runs across the grass ."),
    }
    (note,) = found.notes
    assert note.startswith("line 5: no separator between the number 4 and the caption 'A dog runs")


def test_numbers_of_captions_behind_names_are_no_part_of_them(tmp_path):
    text = "image,caption\n1.jpg#0,a dog\n1.jpg#1,a hound\n"
    assert captions(read(tmp_path, text)) == {"1.jpg": ("a dog", "a hound")}


@pytest.mark.parametrize("rows", ["", "notes.pdf,a page\n", "1.jpg,\n"])
def test_a_file_without_any_caption_is_an_error(tmp_path, rows):
    with pytest.raises(ValueError, match="no image with a caption in this CSV table"):
        read(tmp_path, f"image,caption\n{rows}")


def test_first_lines_that_are_no_header(tmp_path):
    wanted = {"1.jpg": ("a dog",)}
    assert captions(read(tmp_path, "sep=;\nimage;caption\n1.jpg;a dog\n")) == wanted
    assert captions(read(tmp_path, "\r\n\r\nimage,caption\r\n1.jpg,a dog\r\n")) == wanted
    assert captions(read(tmp_path, "image,caption,\n1.jpg,a dog,,\n")) == wanted


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['1.jpg,"a street', "2.jpg,a road", "3.jpg,a lane"], "line 2: .*never closed"),
        (['1.jpg,"a street', '2.jpg,"a road"', "3.jpg,a lane"], "line 2: .*only in line 3"),
        (['1.jpg,"a street', "2.jpg,a road", '3.jpg,a tv of 20"'], "line 2: .*line 3 is a row"),
        (["1.jpg,a street", '2.jpg,"a "blue" hat"'], "line 3: .*closes before the end"),
        (["1.jpg,a street", "2.jpg,a road, a lane"], "line 3: expected 2 columns.*got 3"),
        (["1.jpg,a street", "2.jpg"], "line 3: expected 2 columns.*got 1"),
        (["1.jpg,two", "1.jpg,three", "", "1.jpg"], "line 5: expected 2"),
    ],
)
def test_what_would_lose_rows_is_an_error_with_its_line(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, "image,caption\n" + "\n".join(rows) + "\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path, ("image;caption\n" + "\n".join(rows) + "\n").replace(",", ";"))


def test_a_long_table_with_an_open_quote_is_no_traceback(tmp_path):
    rows = [f"img{n}.jpg,a street with {n} parked cars and some trees" for n in range(4000)]
    rows[7] = 'img7.jpg,"a street with no cars'
    with pytest.raises(ValueError, match="line 9: the quote that opens at '.a street"):
        read(tmp_path, "image,caption\n" + "\n".join(rows) + "\n")


def test_inches_and_quotes_within_captions_are_letters(tmp_path):
    rows = ('1.jpg\t"Hi" he said', '2.jpg\ta 20" tv', '3.jpg\t"all of it"')
    found = read(tmp_path, "\n".join(["image\tcaption", *rows]))
    assert captions(found) == {
        "1.jpg": ('"Hi" he said',),
        "2.jpg": ('a 20" tv',),
        "3.jpg": ("all of it",),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "image,caption\n1.jpg,a café\n".encode("cp1252"),
            "byte 0xe9 at offset 25, line 2, is no",
        ),
        ("image,caption\n1.jpg,a dog\n".encode("utf-16-le"), "zero byte in line 1.*UTF-16"),
        ("image,caption\n".encode("utf-16") + b"\x00", "is no UTF-16"),
        (b"PK\x03\x04rest", "zip archive or a spreadsheet"),
        (b"\x1f\x8brest", "compressed by gzip"),
    ],
)
def test_other_encodings_are_refused_with_what_to_do(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_what_is_left_out_is_counted(tmp_path):
    rows = [
        *("1.jpg,a dog", "1.jpg,", ",a cat", "notes.pdf,a page", "http://a.org/1.jpg,a bird"),
        *("2.jpg,", "3.HEIC,a fish"),
    ]
    found = read(tmp_path, "image,caption\n" + "\n".join(rows) + "\n")
    assert captions(found) == {"1.jpg": ("a dog",)}
    assert found.rejected == (
        "line 4: '' names no image",
        "line 6: 'http://a.org/1.jpg' is an address: fetch the picture",
        "line 5: notes.pdf is not the name of an image",
        "line 8: 3.HEIC is a picture of a kind that is not read; convert it",
        "1 empty captions of images that have others, first line 3 (1.jpg)",
        "2.jpg has no caption",
    )


def test_images_are_found_where_they_lie(tmp_path):
    images = tmp_path / "photographs"
    for name in ("a/1.jpg", "b/c/2.JPG", "3.png", "a/twice.jpg", "b/twice.jpg", "__MACOSX/3.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    rows = [
        "1.jpg",
        "2.jpg",
        "3",
        "./a/../3b.png",
        "b\\c\\4.jpg",
        str(images / "5.jpg"),
        "twice.jpg",
    ]
    (images / "b/c/4.jpg").touch()
    (images / "5.jpg").touch()
    text = "image,caption\n" + "".join(f"{name},a dog\n" for name in rows)
    found = read(tmp_path, text, images=images)
    where = {r.key: r.image.relative_to(images).as_posix() for r in found}
    assert where == {
        "1.jpg": "a/1.jpg",
        "2.jpg": "b/c/2.JPG",
        "3": "3.png",
        "3b.png": "3b.png",
        "b/c/4.jpg": "b/c/4.jpg",
        "5.jpg": "5.jpg",
        "twice.jpg": "twice.jpg",  # which of two, nothing says: it will be missing
    }
    (note,) = found.notes
    assert note.startswith("3 images lie elsewhere")
    with pytest.raises(ValueError, match=r"two names: 3\.png and 3; call each image by one name"):
        read(tmp_path, "image,caption\n3.png,a dog\n3,a cat\n", images=images)
    with pytest.raises(ValueError, match="line 3: 1.jpg is in split 'val' and in 'train'"):
        read(tmp_path, "image,split,caption\n1.jpg,train,a\n./1.jpg,valid,b\n", images=images)


def test_several_files_are_one_source(tmp_path):
    (tmp_path / "captions,odd[1].csv").write_text("image,caption\n9.jpg,a dog\n")
    (tmp_path / "one.csv").write_text("image,caption\n1.jpg,a dog\n2.jpg,a cat\n,lost\n")
    (tmp_path / "two.tsv").write_text("file_name\ttext\n2.jpg\ta tiger\n3.jpg\ta cow\n")
    for given in (
        f"{tmp_path}/one.csv,{tmp_path}/two.tsv",
        f"{tmp_path}/*.[ct]sv",
        [tmp_path / "one.csv", tmp_path / "two.tsv"],
    ):
        found = read_captions(given, check_images=False)
        kept = {key: own for key, own in captions(found).items() if key != "9.jpg"}
        assert kept == {
            "1.jpg": ("a dog",),
            "2.jpg": ("a cat", "a tiger"),
            "3.jpg": ("a cow",),
        }
        assert len({record.image_id for record in found}) == len(found)
        assert f"{tmp_path}/one.csv: line 4: '' names no image" in found.rejected
        assert "two.tsv" in [file.name for file in found.files]
    odd = read_captions(tmp_path / "captions,odd[1].csv", check_images=False)
    assert captions(odd) == {"9.jpg": ("a dog",)}
    with pytest.raises(FileNotFoundError, match="no caption file at .*three.csv"):
        read_captions(f"{tmp_path}/one.csv,{tmp_path}/three.csv", check_images=False)
    (tmp_path / "val.csv").write_text("image,caption,split\n1.jpg,a dog,val\n")
    with pytest.raises(ValueError, match="1.jpg is in split all by .*one.csv and val by .*val.csv"):
        read_captions(f"{tmp_path}/one.csv,{tmp_path}/val.csv", check_images=False)


def test_splits_are_stated_for_all_images_or_for_none(tmp_path):
    rows = "image,split,caption\n1.jpg,train,a\n2.jpg,,b\n3.jpg,val,c\n"
    with pytest.raises(ValueError, match="line 3: 2.jpg states no split, as 1 of 3 images"):
        read(tmp_path, rows)
    found = read(tmp_path, rows + "2.jpg,test,d\n")
    assert found.splits == {"train": (1, 1), "test": (1, 2), "val": (1, 1)}
    bare = read(tmp_path, "image,split,caption\n1.jpg,,a\n2.jpg, ,b\n")
    assert bare.splits == {"all": (2, 2)}


def test_a_printed_list_without_captions_is_none(tmp_path):
    found = read(tmp_path, "image,captions\n1.jpg,[]\n2.jpg,['a dog']\n")
    assert [record.key for record in found] == ["2.jpg"]
    assert found.rejected == ("1.jpg has no caption",)
