"""`while_loop`: steps that data end, each element by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracejit.api.scanning import as_numpy, check_count, check_kept, check_nesting, scan, type_of_leaf
from tracejit.errors import ArgumentError, DTypeError, ShapeError, TracejitError
from tracejit.frontend.dispatch import located
from tracejit.ir import calling, current_builder
from tracejit.pytree import flatten


def while_loop(
    cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any, max_steps: int
) -> tuple[Any, Any]:
    """`state = body(state)` for each element as long as its own condition holds, at most `max_steps` times.

    cond: from a state, whether an element goes on: booleans of a shape that broadcasts to that of each array
    body: a step, in plain NumPy, which must keep the shapes and dtypes of the state
    init: the first state, an array or any nesting of them
    max_steps: after how many steps an element is left as it is; a compiled loop goes through all of them
    Returns `(state, ended)`; `ended` has the shape of the condition, and is False where `max_steps` were too
    few. For one state with one condition, as in `while`, the arrays of the condition have no axes.

    It is differentiable in both directions, for every element through the steps that it took. A step is
    computed for elements that have ended, too, from their first state, and what it gives is not used: a step
    that has no value any more (the logarithm of a negative number) spoils nothing. Compiled like `tj.scan`:
    one kernel where a step computes each element by itself.

    Raises ArgumentError for another nesting of the state, ShapeError or DTypeError where a step does not keep
    its types or the condition has others than booleans, or more elements than an array of the state.

    >>> @tj.grad_jit
    ... def root(a):  # Newton's method, to the last digits that change
    ...     first = (a, np.full_like(a, np.inf))
    ...     moves = lambda s: np.abs(s[0] - s[1]) > 1e-9 * s[0]
    ...     (x, _), ended = tj.while_loop(moves, lambda s: ((s[0] + a / s[0]) / 2, s[0]), first, 40)
    ...     return np.where(ended, x, np.nan).sum()
    >>> root.grad(np.array([1.0, 4.0, 9.0])).round(9).tolist()
    [0.5, 0.25, 0.166666667]
    """
    try:
        with calling("tj.while_loop"):
            check_count("while_loop: max_steps", max_steps)
            loop = _While(cond, body, init)
            state = _run(loop, max_steps) if current_builder() is None else None
            if state is None:
                state, _ = scan(loop.step, init, length=max_steps)
            return state, np.logical_not(loop.goes_on(state))
    except TracejitError as error:
        raise located(error) from None


def _run(loop: _While, max_steps: int) -> Any:
    """The loop on arrays, as Python runs it."""
    state = loop.tree.unflatten(list(map(as_numpy, loop.first)))
    for _ in range(max_steps):
        if not np.any(loop.goes_on(state)):
            break
        state, _ = loop.step(state, None)
    return state


class _While:
    """A condition and a step, as a step that goes on only where the condition holds."""

    def __init__(self, cond: Callable[[Any], Any], body: Callable[[Any], Any], init: Any) -> None:
        self.cond, self.body = cond, body
        self.first, self.tree = flatten(init)

    def goes_on(self, state: Any) -> Any:
        found = self.cond(state)
        leaves, tree = flatten(found)
        if tree.kind != "leaf":
            raise ArgumentError(f"while_loop: cond must return one array of booleans, not a {tree.kind}")
        kind = type_of_leaf(leaves[0])
        if kind.dtype != np.bool_:
            raise DTypeError(
                f"while_loop: cond must return booleans, got {kind}", hint="compare: lambda s: s > limit"
            )
        for own, path in zip(map(type_of_leaf, self.first), self.tree.leaf_paths(), strict=True):
            if not _broadcasts(kind.shape, own.shape):
                raise ShapeError(
                    f"while_loop: cond gives {kind}, which is more than the state{path} has, {own}",
                    hint="let each array of the state have an element for every condition: np.zeros_like(x)",
                )
        return found

    def step(self, state: Any, _: None) -> tuple[Any, None]:
        goes_on = self.goes_on(state)
        before = flatten(state)[0]
        safe = [np.where(goes_on, x, first) for x, first in zip(before, self.first, strict=True)]
        after, tree = flatten(self.body(self.tree.unflatten(safe)))
        check_nesting("while_loop: the state", self.tree, tree)
        for old, new, path in zip(before, after, self.tree.leaf_paths(), strict=True):
            check_kept(f"while_loop: the state{path}", type_of_leaf(old), type_of_leaf(new))
        # Empty brackets make a number of an array without axes, as `while` would have it.
        chosen = [np.where(goes_on, new, old)[()] for new, old in zip(after, before, strict=True)]
        return self.tree.unflatten(chosen), None


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Does an array of a shape go into one of another, as it is?"""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))
