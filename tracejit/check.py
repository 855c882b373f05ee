"""`check_grads`: derivatives compared with differences, for users and for the library's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tracejit.api import jvp, vjp
from tracejit.errors import ArgumentError
from tracejit.ir import is_floating
from tracejit.ops.value import class_name, is_foreign
from tracejit.pytree import TreeDef, flatten

MODES = ("fwd", "rev")


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Iterable[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Compare the derivatives of `f(*args)` with central differences; AssertionError where they disagree.

    f: takes arrays and numbers in any nesting and returns floats; integer arguments are held fixed
    order: 1 checks first derivatives, 2 those of the first derivatives too, and so on
    modes: "fwd" checks `jvp`, "rev" checks `vjp`
    atol, rtol: default to 1e-5 where all arguments are float64, else 2e-2
    eps: the step, relative to the size of each argument; default 1e-5

    Differences are taken in float64, one argument at a time, in a random direction that is the same on every
    run.

    >>> tj.check_grads(lambda x, w: np.tanh(x @ w), (np.ones(3), np.full((3, 2), 0.1)))

    A wrong derivative names the argument and the numbers:

    >>> wrong = lambda x: x * tj.stop_gradient(x)
    >>> tj.check_grads(wrong, (3.0,), order=1, modes=["fwd"])
    Traceback (most recent call last):
    AssertionError: check_grads: derivative of <lambda> by argument 0 ...
    """
    unknown = [m for m in modes if m not in MODES] if not isinstance(modes, str) else [modes]
    if unknown:
        raise ArgumentError(
            f"check_grads: mode {unknown[0]!r} is not known", hint="modes are 'fwd' and 'rev'"
        )
    leaves, treedef = flatten(tuple(args))
    for leaf in leaves:
        if is_foreign(leaf):
            raise ArgumentError(
                f"check_grads: an argument is a {class_name(leaf)}, which is not a NumPy array",
                hint='pass those: a function with target="cuda" copies them to the device',
            )
    if not any(_is_float(leaf) for leaf in leaves):
        raise ArgumentError("check_grads: there is no float argument")
    is_double = all(np.asarray(leaf).dtype == np.float64 for leaf in leaves if _is_float(leaf))
    tolerance = 1e-5 if is_double else 2e-2
    check = _Check(
        tuple(modes),
        tolerance if atol is None else atol,
        tolerance if rtol is None else rtol,
        1e-5 if eps is None else eps,
        getattr(f, "__name__", type(f).__name__),
    )
    check.run(f, leaves, treedef, order, "derivative")


class _Check:
    """One call of `check_grads`: its tolerances, and its directions."""

    def __init__(self, modes: tuple[str, ...], atol: float, rtol: float, eps: float, name: str) -> None:
        self.modes = modes
        self.atol = atol
        self.rtol = rtol
        self.eps = eps
        self.name = name
        self.rng = np.random.default_rng(0)

    def run(self, f: Callable[..., Any], leaves: list[Any], treedef: TreeDef, order: int, what: str) -> None:
        """Check the first derivative by each float argument, then those of the function that gives it."""
        paths = [
            f"argument {path[1 : path.index(']')]}{path[path.index(']') + 1 :]}"
            for path in treedef.leaf_paths()
        ]
        for k, leaf in enumerate(leaves):
            if not _is_float(leaf) or not np.size(leaf):
                continue
            direction = self.random_like(leaf)
            tangents = [np.zeros(np.shape(x), _dtype(x)) for x in leaves]
            tangents[k] = direction
            place = f"{what} of {self.name} by {paths[k]}"
            self.check_argument(f, leaves, treedef, k, tangents, place)
        if order > 1:
            self.run_next(f, leaves, treedef, order, what)

    def check_argument(
        self,
        f: Callable[..., Any],
        leaves: list[Any],
        treedef: TreeDef,
        k: int,
        tangents: list[Any],
        place: str,
    ) -> None:
        args = treedef.unflatten(leaves)
        expected = self.difference(f, leaves, treedef, k, tangents[k])
        if "fwd" in self.modes:
            _, pushed = jvp(f, args, treedef.unflatten(tangents))
            self.compare(_float_leaves(pushed), expected, place)
        if "rev" in self.modes:
            value, pullback = vjp(f, *args)
            result, result_def = flatten(value)
            cts = [self.random_like(x) if _is_float(x) else None for x in result]
            pulled = flatten(pullback(result_def.unflatten(cts)))[0]
            floats = [n for n, x in enumerate(leaves) if _is_float(x)]
            moved = sum(float(np.sum(c * d)) for c, d in zip((c for c in cts if c is not None), expected))
            found = np.sum(pulled[floats.index(k)] * tangents[k])
            self.compare([found], [moved], f"{place}, in reverse,")

    def run_next(
        self, f: Callable[..., Any], leaves: list[Any], treedef: TreeDef, order: int, what: str
    ) -> None:
        """Check the function `args -> derivative in one fixed direction`, by both modes."""
        floats = [n for n, x in enumerate(leaves) if _is_float(x)]
        tangents = [
            self.random_like(x) if n in floats else np.zeros(np.shape(x), _dtype(x))
            for n, x in enumerate(leaves)
        ]
        moves = treedef.unflatten(tangents)
        if "fwd" in self.modes:
            self.run(lambda *args: jvp(f, args, moves)[1], leaves, treedef, order - 1, f"jvp {what}")
        if "rev" in self.modes:
            result, result_def = flatten(f(*treedef.unflatten(leaves)))
            ct = result_def.unflatten([self.random_like(x) if _is_float(x) else None for x in result])
            self.run(lambda *args: vjp(f, *args)[1](ct), leaves, treedef, order - 1, f"vjp {what}")

    def difference(
        self, f: Callable[..., Any], leaves: list[Any], treedef: TreeDef, k: int, direction: Any
    ) -> list[Any]:
        """The central difference of the float results, all float arguments being float64."""
        doubles = [np.asarray(x, np.float64)[()] if _is_float(x) else x for x in leaves]
        step = self.eps * max(1.0, float(np.max(np.abs(doubles[k]))))
        ends: list[list[Any]] = []
        for sign in (1, -1):
            moved = list(doubles)
            moved[k] = doubles[k] + sign * step * np.asarray(direction, np.float64)[()]
            ends.append(_float_leaves(f(*treedef.unflatten(moved))))
        return [(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(*ends)]

    def compare(self, found: list[Any], expected: list[Any], place: str) -> None:
        for a, b in zip(found, expected):
            if np.allclose(a, b, atol=self.atol, rtol=self.rtol, equal_nan=True):
                continue
            a, b = np.atleast_1d(a), np.atleast_1d(b)
            worst = np.unravel_index(np.nanargmax(np.abs(a - b)), a.shape)
            at = f" at {[int(n) for n in worst]}" if a.size > 1 else ""
            raise AssertionError(
                f"check_grads: {place} is {float(a[worst])!r}{at}, differences give {float(b[worst])!r}"
            )

    def random_like(self, x: Any) -> Any:
        return self.rng.standard_normal(np.shape(x)).astype(_dtype(x))[()]


def _dtype(x: Any) -> np.dtype[Any]:
    return np.asarray(x).dtype


def _is_float(x: Any) -> bool:
    return is_floating(_dtype(x))


def _float_leaves(tree: Any) -> list[Any]:
    return [x for x in flatten(tree)[0] if _is_float(x)]
