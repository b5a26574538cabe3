"""The golden maps of Captum are still what it says."""

import pytest

from tests.golden import captum_methods as golden


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_captum_says_so_still():
    pytest.importorskip("captum", reason="the parity extra is not installed")
    found, expected = golden.compute(), golden.expected()
    assert set(found) == set(expected)
    for name, value in found.items():
        golden.close(value, expected[name], 1e-6)
