"""`check_grads` accepts what is right and names what is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated

pytestmark = pytest.mark.usefixtures("evaluated")

X = np.array([0.5, -1.0, 2.0])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_derivatives_pass(order: int) -> None:
    tj.check_grads(lambda x: np.sin(x) * np.exp(x[::-1]), (X,), order=order)
    tj.check_grads(lambda p, n: {"y": p["a"] ** n * p["b"]}, ({"a": X, "b": 2.0}, 3), order=order)


def test_single_precision_has_its_own_tolerances() -> None:
    tj.check_grads(lambda x: np.tanh(x).sum(), (X.astype("f4"),))


@pytest.mark.parametrize("modes", [("fwd",), ("rev",), "fwd"])
def test_wrong_first_derivatives_are_found(modes: Any) -> None:
    with pytest.raises(AssertionError, match=r"derivative of wrong by argument 0\['b'\].* differences give"):
        tj.check_grads(
            wrong, ({"a": X, "b": X},), order=1, modes=[modes] if isinstance(modes, str) else modes
        )


def wrong(p: Any) -> Any:
    return p["a"] * tj.stop_gradient(p["b"])


def test_wrong_second_derivatives_are_found() -> None:
    def f(x: Any) -> Any:
        # The value and the first derivative are those of x**2, the second derivative is not.
        stopped = tj.stop_gradient(x)
        return stopped * stopped + 2 * stopped * (x - stopped)

    tj.check_grads(f, (3.0,), order=1)
    for mode in ("fwd", "rev"):
        with pytest.raises(AssertionError, match=f"{'j' if mode == 'fwd' else 'v'}vp derivative|jvp|vjp"):
            tj.check_grads(f, (3.0,), order=2, modes=[mode])


def test_the_worst_element_is_named() -> None:
    def f(x: Any) -> Any:
        return np.where(np.arange(3) == 1, tj.stop_gradient(x), x)

    with pytest.raises(AssertionError, match=r"is 0\.0 at \[1\], differences give"):
        tj.check_grads(f, (X,), order=1)


def test_misuse_is_refused() -> None:
    with pytest.raises(tj.ArgumentError, match="no float argument"):
        tj.check_grads(lambda n: n * 2.0, (3,))
    with pytest.raises(tj.ArgumentError, match="mode 'back' is not known"):
        tj.check_grads(np.sin, (3.0,), modes=["back"])
