"""Every fault of `folders.py`."""

import pytest

from tests.faults import folders

there = (folders.DATA / "coco" / "images").is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not there, reason="needs the shared photographs ($CAPJAX_DATA)")
@pytest.mark.parametrize("name", folders.FAULTS)
def test_nothing_is_lost(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    (report,) = folders.check(tmp_path / "runs", names=[name], count=24)
    assert report.lost in ("nothing", "not run"), report
