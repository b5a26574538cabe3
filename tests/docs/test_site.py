"""The documentation builds without a warning, and nothing in it is fetched from elsewhere."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.docs.pages import DOCS, ROOT, pages

TOOLS = ("sphinx", "furo", "myst_parser")
MISSING = [name for name in TOOLS if importlib.util.find_spec(name) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: pip install '.[docs]'")
def test_it_builds_without_a_warning(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, str(DOCS), str(site)],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for page in pages():
        if page.is_relative_to(DOCS):
            assert (site / page.relative_to(DOCS)).with_suffix(".html").is_file(), page
    ig = (site / "methods" / "ig.html").read_text()
    assert "<math" in ig and "points of the path at which the gradient is taken" in ig
    assert "explain" in (site / "searchindex.js").read_text()
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', page.read_text()
        )
        assert not fetched, (page, fetched)
