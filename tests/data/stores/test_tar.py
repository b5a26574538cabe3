"""Tar shards: what WebDataset and `tar` write, and what broken or hostile archives hold."""

import io
import tarfile
import tracemalloc

import pytest

from capjax.data.stores.choosing import open_store
from tests.data.stores.written import contents, jpeg, link, members, text


def opened(*given, tmp_path):
    told = []
    store = open_store([*map(str, given)], exclude=tmp_path / "out", tell=told.append)
    return store, told


def test_images_captions_and_metadata_of_one_key_belong_together(tmp_path):
    entries = [("./a/0.jpg", jpeg(0)), ("./a/0.txt", text("a dog\n\n  a  hound \n"))]
    entries += [
        ("./a/0.json", text({"source": "web", "score": 0.5, "nested": {"x": 1}, "no": None}))
    ]
    entries += [
        ("1.json", text({"caption": "a cat", "year": 1990})),
        ("1.PNG", b"x"),
        ("2.jpg", b"y"),
    ]
    members(tmp_path / "s.tar", entries)
    store, told = opened(tmp_path / "s.tar", tmp_path=tmp_path)
    assert list(store.names) == ["s.tar/a/0.jpg", "s.tar/1.PNG", "s.tar/2.jpg"]
    assert store.captions == {"s.tar/a/0.jpg": ("a dog", "a hound"), "s.tar/1.PNG": ("a cat",)}
    assert store.metadata("s.tar/a/0.jpg") == {"source": "web", "score": 0.5, "no": None}
    assert store.metadata("s.tar/1.PNG") == {"year": 1990}
    assert store.metadata("s.tar/2.jpg") == {}
    assert contents(store)[0]["s.tar/a/0.jpg"] == jpeg(0)
    assert told == []


def test_what_is_left_out_is_told_once_for_all_shards(tmp_path):
    for number in range(3):
        entries = [("k.jpg", jpeg(number)), ("k.cls", b"3"), ("k.seg.png", b"mask")]
        entries += [("._k.jpg", b"fork"), ("lone.txt", b"of nothing"), ("k.json", b"{]")]
        members(tmp_path / f"s-{number:03d}.tar", entries)
    store, told = opened(tmp_path / "s-{000..002}.tar", tmp_path=tmp_path)
    assert list(store.names) == [f"s-{number:03d}.tar/k.jpg" for number in range(3)]
    assert sum("s-000.tar/k.cls, s-001.tar/k.cls, s-002.tar/k.cls" in note for note in told) == 1
    for named in ("s-000.tar/k.seg.png", "s-000.tar/._k.jpg", "s-000.tar/lone", "s-000.tar/k.json"):
        assert sum(named in note for note in told) == 1, (named, told)


def test_names_that_lead_out_stay_inside_and_repeated_ones_stay_apart(tmp_path):
    long = f"{'ü' * 300}.jpg"
    names = [
        "../../x.jpg",
        "/etc/x.jpg",
        "a/../b.jpg",
        "日本 #1.jpg",
        long,
        "c.jpg",
        "c.jpg",
        "c.jpg",
    ]
    names += ["c~2.jpg", "d\\e.jpg"]
    pictures = [jpeg(number) for number in range(len(names))]
    captions = [("c.txt", text(f"number {number}")) for number in range(3)]
    members(tmp_path / "s.tar", [*zip(names, pictures, strict=True), *captions])
    store, told = opened(tmp_path / "s.tar", tmp_path=tmp_path)
    expected = ["__/__/x.jpg", "etc/x.jpg", "a/__/b.jpg", "日本 #1.jpg", long, "c.jpg", "c~2.jpg"]
    expected += ["c~3.jpg", "c~2~2.jpg", "d/e.jpg"]
    assert list(store.names) == [f"s.tar/{name}" for name in expected]
    assert list(contents(store)[0].values()) == pictures  # none lost, none twice
    assert store.captions["s.tar/c.jpg"] == ("number 0",)
    assert store.captions["s.tar/c~3.jpg"] == ("number 2",)
    said = "; ".join(told)
    assert "../../x.jpg as __/__/x.jpg" in said and "s.tar/c~2.jpg" in said


def test_links_lead_to_members_or_fail_by_name(tmp_path):
    entries = [("a/0.jpg", jpeg(0)), link("b/1.jpg", "../a/0.jpg"), link("2.jpg", "/etc/passwd")]
    entries += [link("3.jpg", "a/0.jpg", tarfile.LNKTYPE), link("4.jpg", "4.jpg")]
    members(tmp_path / "s.tar", entries)
    good, bad = contents(opened(tmp_path / "s.tar", tmp_path=tmp_path)[0])
    assert good == dict.fromkeys(["s.tar/a/0.jpg", "s.tar/b/1.jpg", "s.tar/3.jpg"], jpeg(0))
    assert set(bad) == {"s.tar/2.jpg", "s.tar/4.jpg"}
    assert "it is a link to /etc/passwd" in bad["s.tar/2.jpg"]


def test_a_cut_archive_gives_what_it_has_and_fails_under_its_own_name(tmp_path):
    whole = members(tmp_path / "s.tar", [(f"{n}.jpg", jpeg(n)) for n in range(3)]).read_bytes()
    with tarfile.open(tmp_path / "s.tar") as archive:
        last = archive.getmember("2.jpg")
    for cut, readable, broken in (
        (last.offset_data + 100, 2, {"s.tar/2.jpg": "cut short: 100 of", "s.tar": "behind 2.jpg"}),
        (last.offset + 100, 2, {"s.tar": "behind 1.jpg"}),
        (100, 0, {"s.tar": "from its beginning"}),
        (0, 0, {"s.tar": "from its beginning"}),
    ):
        (tmp_path / "s.tar").write_bytes(whole[:cut])
        good, bad = contents(opened(tmp_path / "s.tar", tmp_path=tmp_path)[0])
        assert len(good) == readable and set(bad) == set(broken), (cut, bad)
        assert all(said in bad[name] for name, said in broken.items()), bad
    (tmp_path / "s.tar").write_bytes(whole[: last.offset])  # where a cut leaves no trace
    store, told = opened(tmp_path / "s.tar", tmp_path=tmp_path)
    assert len(contents(store)[0]) == 2 and "without an end mark" in told[0]


def test_damage_between_members_is_named(tmp_path):
    path = members(tmp_path / "s.tar", [(f"{n}.jpg", jpeg(n)) for n in range(3)])
    with tarfile.open(path) as archive:
        second = archive.getmember("1.jpg").offset
    damaged = bytearray(path.read_bytes())
    damaged[second : second + 512] = b"\xa5" * 512
    path.write_bytes(damaged)
    good, bad = contents(opened(path, tmp_path=tmp_path)[0])
    assert set(good) == {"s.tar/0.jpg"}
    assert f"at byte {second:,}, behind 0.jpg" in bad["s.tar"]


def test_archives_one_after_the_other_are_all_read(tmp_path):
    one = members(tmp_path / "1.tar", [("a.jpg", jpeg(1))]).read_bytes()
    two = members(tmp_path / "2.tar", [("b.jpg", jpeg(2))]).read_bytes()
    (tmp_path / "s.tar").write_bytes(one + two)  # cat 1.tar 2.tar
    good, bad = contents(opened(tmp_path / "s.tar", tmp_path=tmp_path)[0])
    assert good == {"s.tar/a.jpg": jpeg(1), "s.tar/b.jpg": jpeg(2)} and not bad


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar(tmp_path, format):
    names = ["a.jpg", f"{'folder/' * 20}{'n' * 80}.jpg"]
    with tarfile.open(tmp_path / "s.tar", "w", format=format) as archive:
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = len(jpeg(number))
            archive.addfile(member, io.BytesIO(jpeg(number)))
    good, _ = contents(opened(tmp_path / "s.tar", tmp_path=tmp_path)[0])
    assert good == {f"s.tar/{name}": jpeg(number) for number, name in enumerate(names)}


def test_packed_archives_are_refused(tmp_path):
    members(tmp_path / "s.tar.gz", [("a.jpg", jpeg(0))], mode="w:gz")
    with pytest.raises(ValueError, match=r"s\.tar\.gz is a packed archive"):
        opened(tmp_path / "s.tar.gz", tmp_path=tmp_path)


def test_shards_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        members(tmp_path / folder / "s.tar", [("a.jpg", jpeg(len(folder)))])
    store, _ = opened(tmp_path / "*/s.tar", tmp_path=tmp_path)
    assert list(store.names) == ["one/s.tar/a.jpg", "two/s.tar/a.jpg"]


def test_opening_keeps_no_bytes_of_images(tmp_path):
    count, size = 400, 100_000
    members(tmp_path / "s.tar", [(f"{number}.jpg", bytes(size)) for number in range(count)])
    tracemalloc.start()
    store, _ = opened(tmp_path / "s.tar", tmp_path=tmp_path)
    assert len(store.names) == count
    assert tracemalloc.get_traced_memory()[1] < 2**21 + 2_000 * count  # of 40 MB in all
    tracemalloc.stop()


def test_a_shard_that_is_written_again_with_the_same_images_leaves_them_done(tmp_path):
    path = members(tmp_path / "s.tar", [("a.jpg", jpeg(0)), ("b.jpg", jpeg(1))])
    store, _ = opened(path, tmp_path=tmp_path)
    known = {name: store.read(name)[1] for name in store.names}
    members(path, [("b.jpg", jpeg(1)), ("a.jpg", jpeg(2))])
    again, _ = opened(path, tmp_path=tmp_path)
    assert again.still("s.tar/a.jpg", known["s.tar/a.jpg"]) is None
    assert again.still("s.tar/b.jpg", known["s.tar/b.jpg"]).sha256 == known["s.tar/b.jpg"].sha256
