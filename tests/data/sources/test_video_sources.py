"""MSVD and MSR-VTT as they come: the fixtures of each format, word for word."""

import json

import pytest

from capjax.data.__main__ import main
from capjax.data.captions.records import Record, require_images
from capjax.data.formats import msvd
from capjax.data.sources.datasets import read_dataset
from capjax.data.sources.sources import read_captions, read_folder

MSRVTT = {
    "info": {"year": "2016"},
    "videos": [
        {
            "category": 9,
            "url": "https://www.youtube.com/watch?v=9lZi22qLlEo",
            "video_id": "video0",
            "start time": 137.72,
            "end time": 149.44,
            "split": "train",
            "id": 0,
        },
        {
            "category": 1,
            "url": "https://www.youtube.com/watch?v=w4JM08PDEng",
            "video_id": "video6513",
            "start time": 0.0,
            "end time": 10.5,
            "split": "validate",
            "id": 6513,
        },
    ],
    "sentences": [
        {"caption": "a car is shown", "video_id": "video0", "sen_id": 0},
        {"caption": "a  car is shwon", "video_id": "video0", "sen_id": 1},
        {"caption": "people dance", "video_id": "video6513", "sen_id": 2},
    ],
}
MSVD = """VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description
-a_b-c,10,15,588702,unverified,55,English,"A man, who runs."
-a_b-c,10,15,362812,unverified,55,Slovene,Papagaj se umiva pod tekočo vodo.
-a_b-c,10,15,588702,clean,55,English,
xyz,0,7,1,clean,55,English,Two cats play.
-a_b-c,10,15,588703,clean,55,English,Someone   runs.
"""


def read(tmp_path, text, name="captions", **options):
    path = tmp_path / name
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return read_captions(path, check_images=False, **options)


def test_msrvtt(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "video6513.webm").touch()
    found = read(tmp_path, MSRVTT)
    assert found.format == "MSR-VTT JSON" and found.rejected == ()
    assert found.records == (
        Record(
            key="video0",
            image=tmp_path / "clips" / "video0.mp4",
            captions=("a car is shown", "a car is shwon"),
            split="train",
            image_id=0,
            interval=(137.72, 149.44),
        ),
        Record(
            key="video6513",
            image=tmp_path / "clips" / "video6513.webm",
            captions=("people dance",),
            split="val",
            image_id=6513,
            interval=(0.0, 10.5),
        ),
    )
    with pytest.raises(FileNotFoundError, match=r"1 of 2 .*missing, first:\n  .*video0\.mp4"):
        require_images(found)


def test_msrvtt_sentences_of_absent_videos_are_an_error(tmp_path):
    body = {**MSRVTT, "videos": MSRVTT["videos"][:1]}
    with pytest.raises(ValueError, match=r"sentences of 1 videos .* not list, e\.g\. video6513"):
        read(tmp_path, body)
    with pytest.raises(ValueError, match="video 1 lacks 'split' .*has videos with video_id and sp"):
        read(tmp_path, {**MSRVTT, "videos": [MSRVTT["videos"][0], {"video_id": "video6513"}]})
    found = read(tmp_path, {**MSRVTT, "videos": [{"video_id": f"video{n}"} for n in (0, 6513)]})
    assert found.splits == {"all": (2, 3)}


def test_msrvtt_videos_without_a_sentence_are_reported(tmp_path):
    body = {
        **MSRVTT,
        "sentences": [*MSRVTT["sentences"][:2], {"caption": "", "video_id": "video6513"}],
    }
    found = read(tmp_path, body)
    assert [record.key for record in found] == ["video0"]
    assert found.rejected == ("video6513 has no caption",)


def test_msvd_without_the_order_of_its_clips(tmp_path):
    found = read(tmp_path, MSVD, name="video_corpus.csv")
    assert [(r.key, r.captions, r.split, r.image_id, r.interval) for r in found] == [
        (
            "-a_b-c_10_15",
            ("A man, who runs.", "Someone runs."),
            "all",
            1,
            (10.0, 15.0),
        ),
        ("xyz_0_7", ("Two cats play.",), "all", 2, (0.0, 7.0)),
    ]
    assert found[0].image == tmp_path / "-a_b-c_10_15.avi"
    assert found.rejected == (
        "1 sentences in other languages than English",
        "1 rows without a sentence",
    )
    (note,) = found.notes
    assert "no youtube_mapping.txt beside it" in note


@pytest.mark.parametrize(
    ("number", "split"),
    [(1, "train"), (1200, "train"), (1201, "val"), (1300, "val"), (1301, "test"), (1970, "test")],
)
def test_msvd_is_split_by_the_order_of_its_clips(tmp_path, number, split):
    (tmp_path / "youtube_mapping.txt").write_text(f"xyz_0_7 vid{number}\nother_1_2 vid9\n")
    found = read(tmp_path, MSVD, name="video_corpus.csv")
    assert [(r.key, r.split, r.image_id) for r in found] == [("xyz_0_7", split, number)]
    assert found.rejected[2:] == (
        "1 clips are not in youtube_mapping.txt, e.g. -a_b-c_10_15",
        "1 clips of youtube_mapping.txt have no sentence, e.g. other_1_2",
    )
    assert found.format == "MSVD table"


def test_msvd_records_come_in_the_published_order(tmp_path):
    (tmp_path / "youtube_mapping.txt").write_text("xyz_0_7.avi vid3\r\n-a_b-c_10_15 vid1250\r\n")
    found = read(tmp_path, MSVD.replace(",10,15,", ",10.0,15.0,"), name="video_corpus.csv")
    assert [(r.key, r.split) for r in found] == [("xyz_0_7", "train"), ("-a_b-c_10_15", "val")]


def test_msvd_names_are_split_from_the_right():
    assert msvd.clip_parts("-a_b-c_10_15") == ("-a_b-c", 10, 15)
    with pytest.raises(ValueError, match="got 'abc'; expected VideoID_Start_End"):
        msvd.clip_parts("abc")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("xyz_0_7 1\n", "line 1: expected VideoID_Start_End vidN, got 'xyz_0_7 1'"),
        ("xyz_0_7 vid1971\n", "line 1: vid1971 is not in"),
        ("xyz_0_7 vid1\nxyz_0_7 vid2\n", "line 2: xyz_0_7 is vid1 already"),
    ],
)
def test_a_damaged_mapping_is_named_by_line(tmp_path, mapping, message):
    (tmp_path / "youtube_mapping.txt").write_text(mapping)
    with pytest.raises(ValueError, match=message):
        read(tmp_path, MSVD, name="video_corpus.csv")


def test_damaged_msvd_rows_are_named_by_line(tmp_path):
    with pytest.raises(ValueError, match="line 5: expected 8 columns"):
        read(tmp_path, MSVD.replace("Two cats play.", "Two cats, play."))
    with pytest.raises(ValueError, match="line 5: Start and End are 'zero' and '7'"):
        read(tmp_path, MSVD.replace("xyz,0,", "xyz,zero,"))


def test_known_video_datasets(tmp_path, capsys):
    folder = tmp_path / "msvd"
    (folder / "YouTubeClips").mkdir(parents=True)
    (folder / "video_corpus.csv").write_text(MSVD, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"youtube_mapping\.txt"):
        read_dataset("msvd", tmp_path)
    (folder / "youtube_mapping.txt").write_text("-a_b-c_10_15 vid1\nxyz_0_7 vid1201\n")
    (folder / "YouTubeClips" / "xyz_0_7.avi").touch()
    found = read_dataset("msvd", tmp_path, check_images=False)
    assert found.splits == {"train": (1, 2), "val": (1, 1)}
    assert found[1].image == folder / "YouTubeClips" / "xyz_0_7.avi"

    folder = tmp_path / "msrvtt"
    folder.mkdir()
    test = {**MSRVTT["videos"][0], "video_id": "video7010", "split": "test", "id": 7010}
    sentence = {"caption": "a test", "video_id": "video7010", "sen_id": 3}
    (folder / "train_val_videodatainfo.json").write_text(json.dumps(MSRVTT))
    (folder / "test_videodatainfo.json").write_text(
        json.dumps({"videos": [test], "sentences": [sentence]})
    )
    found = read_dataset("msrvtt", tmp_path, check_images=False)
    assert found.splits == {"train": (1, 2), "val": (1, 1), "test": (1, 1)}
    assert found[0].image == folder / "TrainValVideo" / "video0.mp4"
    assert found[2].image == folder / "TestVideo" / "video7010.mp4"

    assert main(["where", "msvd"]) == 0
    assert "YouTubeClips.tar" in capsys.readouterr().out
    assert main(["where", "msrvtt"]) == 0
    assert "msrvtt/train_val_videodatainfo.json" in capsys.readouterr().out


def test_check_decodes_clips(tmp_path, capsys):
    pytest.importorskip("av", reason="needs the extra `video`")
    from tests.data.movies import grey_frames, write_movie

    folder = tmp_path / "clips"
    folder.mkdir()
    write_movie(folder / "good.mp4", grey_frames(2, 16, 16))
    (folder / "bad.avi").write_text("no clip")
    (tmp_path / "captions.csv").write_text("image,caption\ngood.mp4,a dog\nbad.avi,a cat\n")
    assert [record.key for record in read_folder(folder)] == ["bad.avi", "good.mp4"]
    arguments = ["check", f"--captions={tmp_path / 'captions.csv'}", "--decode"]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "unreadable: 1" in out and "bad.avi" in out
    (folder / "bad.avi").unlink()
    assert main(["check", f"--images={folder}", "--decode"]) == 0
