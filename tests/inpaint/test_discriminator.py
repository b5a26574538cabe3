import jax
import jax.numpy as jnp
import numpy as np

from capjax.inpaint.discriminator import SPECTRAL, Discriminator
from capjax.inpaint.generator import Inpainted
from capjax.inpaint.losses import adversarial_loss, discriminator_loss, reconstruction_loss
from capjax.inpaint.spectral_norm import largest_singular_value


def test_one_iteration():
    matrix = jnp.asarray([[1.0, 2], [0, 1], [3, -1]])
    sigma, _ = largest_singular_value(matrix, jnp.asarray([[1.0, 0]]))
    np.testing.assert_allclose(sigma, 3.178050, atol=1e-6)  # G-09


def test_iterations_find_the_singular_value_and_its_derivative():
    matrix = np.random.default_rng(0).normal(size=(18, 5)).astype(np.float32)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)

    @jax.jit
    def iterate(matrix, u):
        return jax.value_and_grad(largest_singular_value, has_aux=True)(matrix, u)

    u = jnp.ones((1, 5))
    for _ in range(50):
        (sigma, u), slope = iterate(matrix, u)
    np.testing.assert_allclose(sigma, values[0], rtol=1e-5)
    np.testing.assert_allclose(slope, np.outer(left[:, 0], right[0]), atol=2e-3)


def test_shapes_and_the_kept_vector():
    inputs = [jax.ShapeDtypeStruct((2, 256, 256, depth), jnp.float32) for depth in (3, 1)]
    net = Discriminator()
    variables = jax.eval_shape(net.init, jax.random.key(0), *inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 5_946_816
    assert variables[SPECTRAL]["conv3"]["u"].shape == (1, 256)
    assert jax.eval_shape(net.apply, variables, *inputs).shape == (2, 4096)


def test_scaling_a_kernel_changes_nothing_and_the_vector_is_kept_where_mutable():
    net = Discriminator(width=2)
    images, masks = jnp.ones((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 1))
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, masks)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f"), shapes)

    @jax.jit
    def score(variables):
        kept = net.apply(variables, images, masks, mutable=[SPECTRAL])
        return net.apply(variables, images, masks), *kept

    forgotten, scores, found = score(variables)
    np.testing.assert_array_equal(forgotten, scores)
    vectors = {name: each["u"] for name, each in variables[SPECTRAL].items()}
    kernel = variables["params"]["conv2"]["kernel"]
    _, expected = largest_singular_value(kernel.reshape(-1, 4), vectors["conv2"])
    np.testing.assert_allclose(found[SPECTRAL]["conv2"]["u"], expected, atol=1e-6)
    variables["params"]["conv2"]["kernel"] = 7.0 * kernel
    np.testing.assert_allclose(score(variables)[1], scores, rtol=1e-5)


def test_losses():
    real, completed = jnp.asarray([[2.0, -0.5]]), jnp.asarray([[-2.0, 0.3]])
    np.testing.assert_allclose(discriminator_loss(real, completed), 0.7, atol=1e-6)  # G-08
    np.testing.assert_allclose(adversarial_loss(completed), 0.85, atol=1e-6)
    images = jnp.zeros((1, 2, 2, 3))
    found = Inpainted(images + 0.25, images.at[0, 0, 0, 0].set(-1.2), None)
    np.testing.assert_allclose(reconstruction_loss(found, images), 0.25 + 0.1, atol=1e-6)
