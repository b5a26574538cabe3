"""The captioner whose words Captum explained: ours is the one that it saw."""

import jax
import numpy as np
import pytest

from capjax.explainers import GradCAM
from capjax.explainers.programs import make_request
from tests.golden import captum_methods as golden


def test_the_same_captioner_and_the_same_grad_cam():
    methods = (GradCAM(), GradCAM(stage="stage0"))
    net, variables = methods[1].prepare(golden.net()), golden.variables()

    @jax.jit
    def answer(images):
        features = net.apply(variables, images, method="encode")
        one = golden.TOKENS[:, None], golden.LENGTHS[:, None], golden.words()[:, None]
        request = make_request(net, variables, features, *one, images=images)
        maps = [method(net, variables, request)["gradcam"].values for method in methods]
        return request.forced.log_probs[:, 0], maps

    log_probs, (maps, fine) = answer(golden.pixels())
    expected = golden.expected()
    real = np.arange(golden.WORDS) < golden.LENGTHS[:, None]
    golden.close(np.where(real, log_probs, 0), expected["log_probs"], 1e-5)
    golden.close(maps[:, 0, :, 0], expected["gradcam_stage1"])
    golden.close(fine[:, 0, :, 0], expected["gradcam_stage0"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_captum_says_so_still():
    pytest.importorskip("captum", reason="the parity extra is not installed")
    found, expected = golden.compute(), golden.expected()
    assert set(found) == set(expected)
    for name, value in found.items():
        golden.close(value, expected[name], 1e-6)
