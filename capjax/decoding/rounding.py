"""Weights that a loop would round at every turn, rounded once before it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

MOVES = frozenset("broadcast_in_dim copy reshape slice squeeze transpose".split())
"""Operations that change no number, so that one may as well round before them."""

CALLS = frozenset("jit pjit closed_call custom_jvp_call custom_vjp_call".split())
"""Operations that are another program, once. Loops are not: they read what they carry again."""

Dtypes = frozenset[Any]


def rounded(turn: Callable[..., Any], weights: Any, *others: Any) -> Any:
    """The weights of `turn(weights, *others)`, those rounded that it does nothing else with.

    A product in bfloat16 reads its float32 kernel only through a conversion. In a loop an
    accelerator's compiler writes that copy at every turn. What the traced turn converts to one
    narrower type, and does not read otherwise, is converted here: the turn gets the same numbers.
    A leaf with a second use (a table that is looked up in float32, a bias) is left as it is.

    Args:
      turn: traced, not run.
      weights: a tree of arrays.
      *others: trees of arrays, left alone.
    """
    leaves, structure = jax.tree.flatten(weights)
    traced = jax.make_jaxpr(turn)(*jax.tree.map(_shape, (weights, *others)))
    read = _read(traced.jaxpr, [frozenset([_dtype(result)]) for result in traced.jaxpr.outvars])
    narrowed = [_narrowed(leaf, dtypes) for leaf, dtypes in zip(leaves, read, strict=False)]
    return jax.tree.unflatten(structure, narrowed)


def _shape(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _narrowed(leaf: jax.Array, read: Dtypes) -> jax.Array:
    if len(read) != 1 or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    (dtype,) = read
    narrower = jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize < leaf.dtype.itemsize
    return leaf.astype(dtype) if narrower else leaf


def _read(program: Jaxpr, results: list[Dtypes]) -> list[Dtypes]:
    """As which types a program reads its arguments, when its results are read as `results`."""
    found: dict[Var, Dtypes] = {}

    def add(operands: Any, dtypes: list[Dtypes]) -> None:
        for operand, own in zip(operands, dtypes, strict=True):
            if not isinstance(operand, Literal):
                found[operand] = found.get(operand, frozenset()) | own

    add(program.outvars, results)
    for equation in reversed(program.eqns):
        made = [found.get(result, frozenset()) for result in equation.outvars]
        add(equation.invars, _operands_read(equation, made))
    return [found.get(argument, frozenset()) for argument in program.invars]


def _operands_read(equation: JaxprEqn, made: list[Dtypes]) -> list[Dtypes]:
    """The same for one operation; `made`: as which types its results are read."""
    if equation.primitive.name == "convert_element_type":
        return [frozenset([equation.params["new_dtype"]])]
    if equation.primitive.name in MOVES:
        return [*made, *[frozenset()] * (len(equation.invars) - 1)]
    if equation.primitive.name in CALLS:
        for inner in equation.params.values():
            if isinstance(inner, ClosedJaxpr):
                return _read(inner.jaxpr, made)
    return [frozenset([_dtype(operand)]) for operand in equation.invars]


def _dtype(operand: Any) -> Any:
    return operand.aval.dtype
