"""The same attack in PyTorch on the same weights reaches the same loss."""

import numpy as np
import pytest

import capjax
from capjax.data.samples import names, photograph
from tests.studies.adversarial import torch_show_and_fool


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.filterwarnings("ignore")
def test_show_and_fool_reaches_the_loss_of_pytorch():
    pytest.importorskip("torch", reason="the parity extra is not installed")
    pictures = [photograph(name) for name in names()[:2]]
    own, theirs, first = torch_show_and_fool.compare(capjax.load("photographs"), pictures)
    assert np.all(theirs < first - 1)  # the attack gets somewhere
    np.testing.assert_allclose(own, theirs, rtol=0.01)
