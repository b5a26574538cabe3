"""The method and the study of docs/own_method.md run as they stand, and answer what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.captioner import log_probs_after
from tests.docs.pages import DOCS, blocks
from tests.explainers.toys import attentive


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the page's blocks define, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        found = []
        for block in blocks((DOCS / "own_method.md").read_text(), "python"):
            own = {"__name__": "page"}
            exec(compile(block, "own_method.md", "exec"), own)
            found.append(own)
    return found


def test_the_method_draws(names):
    (image,) = names[0]["result"]
    assert list(image.explanations) == ["ig", "slope", "slope@order=1.0"]
    assert (image["slope@order=1.0"].maps >= image["slope"].maps).all()  # norms of one vector
    with pytest.raises(ValueError, match="got order=0"):
        names[0]["Slope"](order=0)


def test_a_slope_is_the_norm_of_a_numerical_gradient(names):
    """The norm of the score's numerical gradient by one position's features."""
    captioner = attentive()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    query = "a red wave"
    (found,) = capjax.explain(captioner, image, methods=[names[0]["Slope"]()], query=query)
    slope = found["slope"].maps[1, 0, 2, 3]  # of "red", at a place
    net, variables = captioner.net, captioner.variables
    features = net.apply(variables, jnp.asarray(image)[None], method="encode")
    tokens = jnp.asarray([captioner.text.encode(query)])
    place = 2 * features.grid[1] + 3

    @jax.jit
    def score(moved):
        own = features.replace(positions=features.positions.at[0, 0, place].add(moved))
        hidden, _ = net.apply(variables, own, tokens, method="teacher_force")
        return log_probs_after(net, variables, hidden, tokens)[0, 1]

    depth, step = features.positions.shape[-1], 1e-2
    axes = jnp.eye(depth) * step
    changes = [(score(axis) - score(-axis)) / (2 * step) for axis in axes]
    np.testing.assert_allclose(np.linalg.norm(jnp.stack(changes)), slope, rtol=2e-2)


def test_the_study_finds(names):
    finding = names[1]["result"][0].findings["mirrored"]
    ((said, mirrored),) = finding.pictures.items()
    image = names[1]["image"]
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    again = capjax.caption(names[1]["captioner"], np.ascontiguousarray(image[:, ::-1]))[0].text
    assert said == again
    stays = float(names[1]["result"][0].caption.text == again)
    assert finding.numbers == {"same": stays}
