"""Matrix products and affine layers in a compute dtype with float32 results."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.ops import platform


def product(
    values: Float[Array, "*N I"], kernel: Float[Array, "I O"], dtype: jnp.dtype
) -> Float[Array, "*N O"]:
    """`values @ kernel` with both rounded to `dtype`, accumulated and returned in float32.

    With float64 inputs (oracle tests) and dtype float64 nothing is rounded.

    The backward pass is written by hand: it rounds and accumulates as above, where autodiff's would
    multiply the float32 gradient with the rounded operand, at the speed of float32. Forward mode
    (`jax.jvp`) is an error.
    """
    return _product(values, kernel, dtype)


def _accumulate(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(values: Array, kernel: Array, dtype: Any) -> Array:
    return jnp.matmul(
        values.astype(dtype), kernel.astype(dtype), preferred_element_type=_accumulate(dtype)
    )


def _product_forward(values: Array, kernel: Array, dtype: Any) -> tuple[Array, tuple[Array, Array]]:
    return _product(values, kernel, dtype), (values, kernel)


def _product_backward(
    dtype: Any, residuals: tuple[Array, Array], d_result: Array
) -> tuple[Array, Array]:
    values, kernel = residuals
    accumulate = _accumulate(dtype)
    d_result = d_result.astype(dtype)
    d_values = jnp.matmul(d_result, kernel.astype(dtype).T, preferred_element_type=accumulate)
    d_kernel = outer_sum(values, d_result, dtype)
    return d_values.astype(values.dtype), d_kernel.astype(kernel.dtype)


_product.defvjp(_product_forward, _product_backward)


def affine(
    values: Float[Array, "*N I"],
    kernel: Float[Array, "I O"],
    bias: Float[Array, " O"],
    dtype: jnp.dtype,
) -> Float[Array, "*N O"]:
    """`values @ kernel + bias`, the bias added in float32."""
    result = product(values, kernel, dtype)
    return result + bias.reshape((1,) * (result.ndim - 1) + bias.shape)


def outer_sum(
    left: Float[Array, "*N I"], right: Float[Array, "*N O"], dtype: jnp.dtype
) -> Float[Array, "I O"]:
    """Sum over the leading axes of left (x) right: a kernel's gradient, as precise as `product`."""
    accumulate = _accumulate(dtype)
    left, right = (side.reshape(-1, side.shape[-1]).astype(dtype) for side in (left, right))

    contracted = (((0,), (0,)), ((), ()))
    return jax.lax.dot_general(left, right, contracted, preferred_element_type=accumulate)


def times_transposed(rows: Float[Array, "N O"], kernel: Float[Array, "I O"]) -> Float[Array, "N I"]:
    """Computes rows kernel' with rows rounded to its dtype; the sum keeps the dtype of rows."""
    contracted = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(
        rows.astype(kernel.dtype), kernel, contracted, preferred_element_type=rows.dtype
    )


def batched_product(
    subscripts: str, rows: Float[Array, "B ..."], values: Float[Array, "B ..."]
) -> Float[Array, "B ..."]:
    """An einsum of `rows`, rounded to the dtype of `values`; the sum keeps the dtype of `rows`.

    One row an example: a TPU's compiler would turn that into multiplications and a sum, in
    float32 and without the matrix unit, which takes five times as long. A named algorithm of the
    product keeps it from that.
    """

    def multiply(rows: Array, values: Array, algorithm: Any = None) -> Array:
        return jnp.einsum(
            subscripts, rows, values, precision=algorithm, preferred_element_type=wide
        )

    wide = rows.dtype
    rows = rows.astype(values.dtype)
    if values.dtype != jnp.bfloat16 or wide != jnp.float32 or 1 in values.shape[1:]:
        return multiply(rows, values)
    kept = functools.partial(multiply, algorithm=jax.lax.DotAlgorithmPreset.BF16_BF16_F32)
    return platform.on_tpu(kept, multiply, rows, values)
