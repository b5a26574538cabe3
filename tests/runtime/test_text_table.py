"""Tables as text, against ones typed by hand."""

import pytest

from capjax.runtime.text_table import format_table

ROWS = [["", "seeds", "CIDEr"], ["soft", 3, "0.612 ±0.010"], ["a longer one", 12, "-"]]


@pytest.mark.parametrize(
    ("left", "lines"),
    [
        (
            1,
            [
                "              seeds         CIDEr",
                "soft              3  0.612 ±0.010",
                "a longer one     12             -",
            ],
        ),
        (
            3,
            [
                "              seeds  CIDEr",
                "soft          3      0.612 ±0.010",
                "a longer one  12     -",
            ],
        ),
    ],
)
def test_columns_line_up(left, lines):
    assert format_table(ROWS, left=left).splitlines() == lines


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="zip"):
        format_table([["a", "b"], ["c"]])
