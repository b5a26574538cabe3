"""What every method is given: gradients of the score by whatever it depends on."""

import jax
import jax.numpy as jnp
import numpy as np

from capjax.encoders.encoder import perturbed
from capjax.explainers.programs import make_request
from tests.explainers.toys import attentive

TOKENS = np.array([[[3, 4, 5]], [[6, 7, 8]]])


def test_gradients_by_pixels_and_by_a_stage_are_derivatives_of_the_score():
    captioner = attentive()
    net, variables = captioner.net.keeping("stage0"), captioner.variables
    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.uniform(0, 255, (2, 64, 64, 3)), jnp.float32)
    lengths, weights = (
        np.full((2, 1), 3),
        np.broadcast_to(np.eye(3, dtype=np.float32), (2, 1, 3, 3)),
    )

    def by_pixels(pixels):
        return net.apply(variables, pixels, method="encode")

    def by_stage(delta):
        return net.apply(perturbed(variables, {"stage0": delta}), images, method="encode")

    @jax.jit
    def both(way, step):
        features = net.apply(variables, images, method="encode")
        request = make_request(net, variables, features, TOKENS, lengths, weights, images=images)
        zeros = jnp.zeros_like(features.stages["stage0"])
        found = []
        for see, at, direction in ((by_pixels, images, way), (by_stage, zeros, step)):
            slopes = request.gradients(
                net, variables, at, lambda slope, way=direction: slope * way, see
            )
            along = jnp.sum(slopes.reshape(*slopes.shape[:3], -1), axis=-1)

            def score(at, see=see):
                return request.score(net, variables, features=see(at))

            whole = jax.jacrev(score)(at).reshape(*along.shape, -1)
            found.append((along, whole @ direction.reshape(-1)))
        return found

    stage = jax.eval_shape(by_pixels, images).stages["stage0"].shape
    way = jnp.asarray(draw.normal(size=images.shape), jnp.float32)
    step = jnp.asarray(draw.normal(size=stage), jnp.float32)
    for along, derivatives in both(way, step):
        assert np.ptp(along) > 0
        np.testing.assert_allclose(along, derivatives, atol=1e-4 * np.abs(along).max())
