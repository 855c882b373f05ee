"""What cannot be done with arrays of a device: each is an error that says what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tracejit as tj
from tests.runtime.cuda.fakes import Driver, Tensor, wrap
from tests.runtime.cuda.fakes import fake_device as fake_device
from tracejit.errors import TracejitError

X = np.array([1.0, 2.0, 3.0])


def loss(x: Any) -> Any:
    return (x * x).sum()


def negated() -> Tensor:
    found = Tensor(wrap(X))
    found.is_negated = True
    return found


class Sparse(Tensor):
    layout = None  # type: ignore[assignment]


class Watched(Tensor):
    """A tensor of torch's that requires a gradient, which refuses to say where it lies."""

    @property
    def __cuda_array_interface__(self) -> Any:
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "jvp": (
        lambda: tj.jvp(loss, (wrap(X),), (wrap(X),)),
        "jvp of loss: argument x is a cupy.CupyArray, and jvp runs on this processor\n"
        '  hint: on a device, write tj.jit(lambda x, v: tj.jvp(f, (x,), (v,)), target="cuda")',
    ),
    "vjp": (
        lambda: tj.vjp(tj.jit(loss, target="cuda"), wrap(X)),
        "vjp of loss: argument x is a cupy.CupyArray, and vjp runs on this processor\n"
        '  hint: on a device, write tj.jit(lambda x, ct: tj.vjp(f, x)[1](ct), target="cuda")',
    ),
    "a tangent": (
        lambda: tj.jvp(loss, (X,), (wrap(X),)),
        "jvp: tangents[0] is a cupy.CupyArray, which is not a NumPy array\n"
        '  hint: convert it to one; with target="cuda" an array on a device is read where it lies',
    ),
    "a cotangent": (
        lambda: tj.vjp(loss, X)[1](wrap(np.array(1.0))),
        "pullback of loss: ct is a cupy.CupyArray, which is not a NumPy array\n"
        '  hint: convert it to one; with target="cuda" an array on a device is read where it lies',
    ),
    "an argument of this processor's": (
        lambda: tj.grad(loss)(wrap(X)),
        "loss: argument x is a cupy.CupyArray on a CUDA device\n"
        '  hint: leave it there with target="cuda", or copy it to the host',
    ),
    "a tensor that autograd watches": (
        lambda: tj.grad(loss)(Watched(wrap(X))),
        "loss: argument x is a tests.Watched on a CUDA device\n"
        '  hint: leave it there with target="cuda", or copy it to the host',
    ),
    "a tensor in the host's memory": (
        lambda: tj.grad(loss, target="cuda")(Tensor(wrap(X), is_cuda=False)),
        "loss: argument x is a torch.Tensor, which is not an array, a number, or a dict, list, tuple or "
        "dataclass of them\n  hint: pass it as a static argument (static_argnames=...)",
    ),
    "a scan outside": (
        lambda: tj.scan(lambda s, _: (s * 2, None), wrap(X), length=2),
        "an argument is a cupy.CupyArray, which is not a NumPy array\n",
    ),
    "a loop outside": (
        lambda: tj.while_loop(lambda s: s < 3, lambda s: s * 2, wrap(X), 4),
        "an argument is a cupy.CupyArray, which is not a NumPy array\n",
    ),
    "differences": (
        lambda: tj.check_grads(tj.grad_jit(loss, target="cuda"), (wrap(X),)),
        "check_grads: an argument is a cupy.CupyArray, which is not a NumPy array\n"
        '  hint: pass those: a function with target="cuda" copies them to the device',
    ),
    "a tensor that is negated later": (
        lambda: tj.grad(loss, target="cuda")(negated()),
        'target="cuda": a tensor that is negated later has no memory that a kernel could read\n'
        "  hint: convert it first: x.resolve_neg()",
    ),
    "a sparse tensor": (
        lambda: tj.grad(loss, target="cuda")(Sparse(wrap(X))),
        'target="cuda": a tensor that is sparse has no memory that a kernel could read\n'
        "  hint: convert it first: x.to_dense()",
    ),
    "an array of records": (
        lambda: tj.jit(loss, target="cuda")(wrap(np.zeros(3, [("a", "f4")]))),
        "loss: argument x has dtype [('a', '<f4')], which is not supported\n"
        "  hint: use a float, integer or bool array",
    ),
    "complex numbers": (
        lambda: tj.grad(loss, target="cuda")(wrap(X.astype(complex))),
        "loss: argument x has dtype complex128, which is not supported\n"
        "  hint: complex numbers come in a later release: split into real and imaginary parts",
    ),
    "NumPy's out": (
        lambda: tj.grad(loss, target="cuda")(wrap(X), out=np.zeros(3)),
        "target=\"cuda\": out has an array of NumPy's, and results are CuPy's\n"
        "  hint: give an array of CuPy's, on the device of the arguments",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_says_what_to_write(fake_device: Driver, name: str) -> None:
    call, expected = REFUSED[name]
    with pytest.raises(TracejitError) as caught:
        call()
    assert str(caught.value).startswith(expected)


def test_an_out_of_another_target_or_type_is_named_with_the_users_line(fake_device: Driver) -> None:
    with pytest.raises(TracejitError) as caught:
        tj.grad(loss)(X, out=wrap(X))
    assert str(caught.value).startswith(
        "loss: out is a cupy.CupyArray, which no gradient can be written to\n  in"
    )
    with pytest.raises(TracejitError) as caught:
        tj.grad(loss, target="cuda")(wrap(X), out=wrap(np.zeros(4)))
    assert str(caught.value).startswith(
        "loss: out is float64[4], but the gradient there is float64[3]\n  in test_an_out_of"
    )
    assert str(caught.value).endswith(
        "give an array of that type: np.empty((3,), np.float64), or the same on the device of the arguments"
    )


def test_a_tensor_that_is_negated_later_is_told_from_one_that_is_not(fake_device: Driver) -> None:
    f = tj.grad(loss, target="cuda")
    for _ in range(3):
        f(Tensor(wrap(X)))
    with pytest.raises(TracejitError, match="negated later"):
        f(negated())


def test_directions_on_a_device_are_taken_inside_a_function_for_it(fake_device: Driver) -> None:
    x, v = wrap(X), wrap(X + 1)
    cases = {
        "jvp": (lambda x, v: tj.jvp(loss, (x,), (v,))[1], lambda x: tj.jvp(loss, (x,), (v,))[1]),
        "vjp": (lambda x, v: tj.vjp(np.sin, x)[1](v)[0].sum(), lambda x: tj.vjp(np.sin, x)[1](v)[0].sum()),
    }
    expected = {"jvp": (2 * X * (X + 1)).sum(), "vjp": (np.cos(X) * (X + 1)).sum()}
    for name, (given, captured) in cases.items():
        for found in (tj.jit(given, target="cuda")(x, v), tj.jit(captured, target="cuda")(x)):
            np.testing.assert_allclose(found.host, expected[name])
