"""`python -m capjax.data show`: pictures of a dataset with their captions."""

import numpy as np
import pytest
from PIL import Image

from capjax.data import __main__ as command
from capjax.data.scenes import scene


@pytest.fixture
def drawn(monkeypatch):
    """What was handed over to be drawn: sections, title, the line about them."""
    calls = []

    def gallery(sections, *, title, about, font):
        calls.append((sections, title, about, font))
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr(command, "gallery", gallery)
    return calls


def names(sections):
    return [[shown.name for shown in row] for row in sections.values()]


@pytest.fixture
def colours(tmp_path):
    """Six pictures of one colour each, and a table of what they are."""
    rows = ["image,caption,split"]
    for number in range(6):
        path = tmp_path / "pictures" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (10 * number, 0, 0)).save(path)
        split = "train" if number < 5 else "val"
        rows += [f"{number}.png,red of {number},{split}", f"{number}.png,dark,{split}"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return [f"--captions={tmp_path / 'table.csv'}", f"--images={tmp_path / 'pictures'}"]


def test_a_table_and_its_folder(colours, drawn, tmp_path, capsys):
    out = tmp_path / "new" / "out.png"
    assert command.main(["show", *colours, "--split=train", "--count=5", f"--out={out}"]) == 0
    ((sections, title, about, font),) = drawn
    assert names(sections) == [["0.png", "1.png", "2.png", "3.png"], ["4.png"]]
    assert title.endswith("table.csv") and "5 images" in about and font is None
    last = sections["5"][0]
    np.testing.assert_array_equal(np.asarray(last.picture)[..., 0], 40)
    assert last.lines == (("caption 1", "red of 4", ""), ("caption 2", "dark", ""))
    assert out.is_file() and "4.png" in capsys.readouterr().out


def test_which_are_drawn_depends_on_the_seed_alone(colours, drawn, tmp_path):
    command_line = ["show", *colours, "--count=3", f"--out={tmp_path / 'out.png'}"]
    for seed in (0, 0, 1, 2, 3):
        assert command.main([*command_line, f"--seed={seed}"]) == 0
    found = [names(sections)[0] for sections, *_ in drawn]
    assert found[0] == found[1] and len({tuple(one) for one in found}) > 1
    assert all(one == sorted(one) for one in found)
    assert command.main([*command_line, "--image=5.png"]) == 0
    assert names(drawn[-1][0]) == [["5.png"]]


def test_scenes_are_drawn_whole(tmp_path):
    """The picture that is written has the scene in it, scaled to its room."""
    out = tmp_path / "scenes.png"
    assert command.main(["show", "scenes", "--split=val", "--image=8", f"--out={out}"]) == 0
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB"), np.float32)
    own = Image.fromarray(scene(8, split="val").image)
    scale = 174 / own.height  # what fits the room, 232 pixels across and 174 down
    own = own.resize((round(scale * own.width), 174), Image.Resampling.LANCZOS)
    drawn = np.asarray(own, np.float32)
    errors = [
        np.abs(pixels[top : top + 174, left : left + own.width] - drawn).mean()
        for top in range(60, 140)
        for left in range(40, 90)
    ]
    assert min(errors) < 2 < 20 < np.median(errors)


def test_what_cannot_be_shown_is_said(colours, tmp_path, capsys):
    out = f"--out={tmp_path / 'out.png'}"
    assert command.main(["show", *colours, "--image=9.png", out]) == 1
    assert "no image '9.png'" in capsys.readouterr().err
    assert command.main(["show", "scenes", "--image=x", out]) == 1
    assert "number of a scene" in capsys.readouterr().err
    for wrong in (["show", out], ["show", "ucm", *colours, out], ["show", *colours]):
        with pytest.raises(SystemExit) as ended:
            command.main(wrong)
        assert ended.value.code == 2
