"""Lists, addresses, and several kinds at once."""

import io

import pytest

from capjax.data.stores.choosing import open_store
from tests.data.stores.written import contents, jpeg, members, table

PICTURES = [jpeg(number) for number in range(4)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    for number, name in enumerate(("a.jpg", "sub/b.jpg", "../outside/c.jpg")):
        path = tmp_path / "lists" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURES[number])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "lists"


def opened(*given, exclude="out"):
    told = []
    return open_store([*map(str, given)], exclude=exclude, tell=told.append), told


def out(tmp_path):
    return tmp_path / "out"


def test_a_list_names_images_from_its_own_folder_wherever_the_run_is_started(here, monkeypatch):
    absolute = here.parent / "outside/c.jpg"
    lines = ["\ufeff# photographs", "sub/b.jpg", "", "  ./a.jpg\r", str(absolute), "gone.jpg"]
    (here / "list.txt").write_bytes("\n".join(lines).encode())
    outside = str(absolute.resolve()).lstrip("/")
    expected = {"sub/b.jpg": PICTURES[1], "a.jpg": PICTURES[0], outside: PICTURES[2]}
    for folder, given in ((here.parent, "lists/list.txt"), (here / "sub", here / "list.txt")):
        monkeypatch.chdir(folder)
        store = open_store([str(given)], exclude=here / "out")
        assert list(store.names) == [*expected, "gone.jpg"]
        good = {name: store.open(name).read_bytes() for name in store.names if name != "gone.jpg"}
        assert good == expected
        assert store.size("gone.jpg") == -1
        with pytest.raises(OSError, match="No such file"):
            store.read("gone.jpg")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["a.jpg", "#", "./a.jpg", "sub/../a.jpg"],
            r"2 of its images twice: ./a\.jpg \(lines 1 an",
        ),
        (["# none", " "], "names no image; expected paths"),
        (["x.jpg", "y.jpg"], "none of the 2 files .* is there, first 'x.jpg'"),
    ],
)
def test_lists_that_mean_nothing_are_refused(here, lines, said):
    (here / "list.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=said):
        open_store([str(here / "list.txt")], exclude=here / "out")


def test_several_kinds_at_once_and_one_name_twice(here):
    members(here / "s.tar", [("a.jpg", PICTURES[3])])
    (here / "list.txt").write_text("sub/b.jpg\n")
    given = [str(here / name) for name in ("a.jpg", "s.tar", "list.txt")]
    store = open_store(given, exclude=here / "out")
    assert list(store.names) == ["a.jpg", "sub/b.jpg", "s.tar/a.jpg"]
    assert store.root == here
    assert store.open("s.tar/a.jpg").read() == PICTURES[3]
    assert store.open("sub/b.jpg").read_bytes() == PICTURES[1]
    with pytest.raises(ValueError, match=r"1 names of images are given twice.*: a\.jpg;"):
        (here / "list.txt").write_text("a.jpg\n")
        open_store(given, exclude=here / "out")


def test_a_folder_of_shards_says_how_to_name_them(here):
    (here / "shards").mkdir()
    members(here / "shards/s-0.tar", [("a.jpg", PICTURES[3])])
    with pytest.raises(ValueError, match=r"no images in .*1 shards, .*--images='.*shards/\*\.tar'"):
        open_store([str(here / "shards")], exclude=here / "out")


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec", reason="needs the extra `remote`")
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def fill(memory, folder):
    """Every kind of input below one address."""
    for number, name in enumerate(("p/a.jpg", "p/deep/b.jpg", "p/.hidden.jpg", "p/notes.md")):
        memory.pipe(f"{folder}/{name}", PICTURES[number])
    memory.pipe(f"{folder}/list.txt", b"p/a.jpg\np/deep/../deep/b.jpg\n")


@pytest.mark.parametrize("scheme", ["memory", "local"])
def test_addresses_of_folders_files_and_lists(memory, tmp_path, scheme):
    if scheme == "local":
        import fsspec

        root = str(tmp_path / "store")
        memory = fsspec.filesystem("local", auto_mkdir=True)
    else:
        root = "/store"
    fill(memory, root)
    address = f"{scheme}://{root}"

    def found(*given):
        told = []
        store = open_store(given, exclude=tmp_path / "out", tell=told.append)
        return contents(store)[0], told

    folder = {"a.jpg": PICTURES[0], "deep/b.jpg": PICTURES[1]}
    good, told = found(f"{address}/p")
    assert good == folder and "left out: notes.md" in told[0]
    assert found(f"{address}/p/*.jpg")[0] == {"a.jpg": PICTURES[0]}
    assert found(f"{address}/p/{{a,deep/b}}.jpg")[0] == folder
    listed = {f"p/{name}": content for name, content in folder.items()}
    assert found(f"{address}/list.txt")[0] == listed
    (tmp_path / "here.txt").write_text(f"{address}/p/a.jpg\n")
    (name,) = found(str(tmp_path / "here.txt"))[0]
    assert name == f"{root}/p/a.jpg".lstrip("/")
    with pytest.raises(ValueError, match="no such file: "):
        found(f"{address}/nothing.jpg")


def test_shards_with_addresses(memory, tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    for number in range(3):
        path = members(tmp_path / "s.tar", [(f"{number}.jpg", PICTURES[number])])
        memory.pipe(f"/store/s-{number:02d}.tar", path.read_bytes())
    path = table(tmp_path / "t.parquet", {"image": [{"bytes": PICTURES[3], "path": "3.jpg"}]})
    memory.pipe("/store/t.parquet", path.read_bytes())
    given = ["memory://store/s-{00..02}.tar", "memory://store/*.parquet"]
    store = open_store(given, exclude=tmp_path / "out")
    names = [*(f"s-{number:02d}.tar/{number}.jpg" for number in range(3)), "t.parquet/3.jpg"]
    assert contents(store)[0] == dict(zip(names, PICTURES, strict=True))
    memory.pipe("/store/f.array_record", b"")
    with pytest.raises(
        (ValueError, ImportError), match=r"read on this machine alone|capjax\[tfds\]"
    ):
        open_store(["memory://store/f.array_record"], exclude=tmp_path / "out")


def test_what_has_an_address_is_known_by_its_version(memory, tmp_path):
    fill(memory, "/store")
    store = open_store(["memory://store/p"], exclude=tmp_path / "out")
    known = store.read("a.jpg")[1]
    reads = []
    cat, memory.cat_file = (
        memory.cat_file,
        lambda *given, **named: reads.append(given) or cat(*given, **named),
    )
    try:
        assert store.still("a.jpg", known) == known and not reads  # nothing is fetched
        memory.pipe("/store/p/a.jpg", PICTURES[0])  # the same bytes, written later
        assert store.still("a.jpg", known).sha256 == known.sha256 and len(reads) == 1
        memory.pipe("/store/p/a.jpg", PICTURES[0][:-1] + b"\0")
        assert store.still("a.jpg", known) is None
        memory.rm("/store/p/a.jpg")
        assert store.still("a.jpg", known) is None and store.size("a.jpg") == -1
        with pytest.raises(FileNotFoundError, match=r"cannot read memory://.*a\.jpg: there is no"):
            store.read("a.jpg")
    finally:
        del memory.cat_file


def test_a_connection_that_breaks_fails_its_shard_by_name(memory, tmp_path, monkeypatch):
    path = members(tmp_path / "s.tar", [("a.jpg", PICTURES[0])])
    memory.pipe("/store/good.tar", path.read_bytes())
    memory.pipe("/store/weak.tar", path.read_bytes())

    class BrokenError(Exception):
        """As packages of stores have, of no kind that is known here."""

    def read(self, *given, read=io.BytesIO.read):
        if "weak" in self.path:
            raise BrokenError("connection lost")
        return read(self, *given)

    monkeypatch.setattr(type(memory.store["/store/weak.tar"]), "read", read, raising=False)
    store = open_store(["memory://store/*.tar"], exclude=tmp_path / "out")
    good, bad = contents(store)
    assert good == {"good.tar/a.jpg": PICTURES[0]}
    assert "weak.tar: BrokenError: connection lost" in bad["weak.tar"]


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("nowhere://a/b.jpg", ValueError, "is no address that fsspec opens"),
        ("gs://bucket/a.jpg", ImportError, "gs://bucket/a.jpg needs the package of its store"),
    ],
)
def test_addresses_that_cannot_be_opened(tmp_path, monkeypatch, address, kind, said):
    pytest.importorskip("fsspec", reason="needs the extra `remote`")
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(kind, match=said):
        open_store([address], exclude=tmp_path / "out")


def test_without_fsspec_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"pip install 'capjax\[remote\]'"):
        open_store(["s3://bucket/a.jpg"], exclude=tmp_path / "out")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    import sys

    for module in [name for name in sys.modules if name.startswith("capjax.data.stores.parquet")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'capjax\[parquet\]'"):
        open_store([str(tmp_path / "t.parquet")], exclude=tmp_path / "out")
