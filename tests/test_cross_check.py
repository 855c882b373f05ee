"""Whole programs, each written once: derivatives agree with autograd, with JAX and with differences.

A program takes the NumPy module that it runs on, so that the three systems run the same source.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy
import pytest

import tracejit as tj
from tests.evaluated import evaluated as evaluated
from tracejit.pytree import flatten, map_leaves

Tree = Any

LABELS = numpy.array([0, 2, 1, 1, 2, 0, 2])
WORDS = numpy.array([[0, 3, 3], [1, 0, 4], [3, 3, 3]])
OBSERVED = numpy.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0], [0, 1, 1, 1]], bool)
EVENTS = numpy.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
COUNTS = numpy.array([0.0, 3.0, 1.0, 7.0, 2.0])


def special(np: Any) -> ModuleType:
    """The module `scipy.special` of the system that `np` belongs to."""
    return importlib.import_module(
        {"numpy": "scipy"}.get(np.__name__, np.__name__[:-6] + ".scipy") + ".special"
    )


def log_sum_exp(np: Any, x: Any, axis: int) -> Any:
    largest = np.max(x, axis=axis, keepdims=True)
    return np.squeeze(largest + np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)), axis)


def sigmoid(np: Any, x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# --- regression --------------------------------------------------------------------------------------------


def least_squares(np: Any, w: Any, b: Any, X: Any, y: Any) -> Any:
    return np.mean((X @ w + b - y) ** 2)


def elastic_net(np: Any, w: Any, X: Any, y: Any) -> Any:
    return 0.5 * np.sum((y - X @ w) ** 2) / len(y) + 0.1 * np.sum(np.abs(w)) + 0.05 * np.dot(w, w)


def logistic_regression(np: Any, w: Any, b: Any, X: Any) -> Any:
    z = (X @ w + b) * np.where(LABELS > 0, 1.0, -1.0)
    return np.sum(np.logaddexp(0.0, -z)) + 0.01 * np.sum(w**2)


def softmax_regression(np: Any, W: Any, X: Any) -> Any:
    z = X @ W
    z = z - np.max(z, axis=1, keepdims=True)
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(log_p[np.arange(len(LABELS)), LABELS])


def poisson_regression(np: Any, w: Any, X: Any) -> Any:
    eta = X[:5] @ w
    return np.sum(np.exp(eta) - COUNTS * eta + special(np).gammaln(COUNTS + 1))


def student_t(np: Any, mu: Any, log_scale: Any, nu: Any, x: Any) -> Any:
    gammaln = special(np).gammaln
    z = (x - mu) * np.exp(-log_scale)
    const = gammaln((nu + 1) / 2) - gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - log_scale
    return -np.sum(const - (nu + 1) / 2 * np.log1p(z**2 / nu))


def quantile_loss(np: Any, w: Any, X: Any, y: Any) -> Any:
    e = y - X @ w
    return np.mean(np.maximum(0.9 * e, -0.1 * e))


def hinge_loss(np: Any, w: Any, b: Any, X: Any) -> Any:
    return np.sum(np.maximum(0.0, 1 - (2.0 * (LABELS == 1) - 1) * (X @ w - b)) ** 2) + np.linalg.norm(w)


def cox_survival(np: Any, w: Any, X: Any) -> Any:
    risk = X[:6] @ w
    at_risk = np.log(np.cumsum(np.exp(risk)[::-1])[::-1])
    return -np.sum(EVENTS * (risk - at_risk))


def michaelis_menten(np: Any, p: Any, s: Any, v: Any) -> Any:
    return np.sum((p["vmax"] * s / (p["km"] + s) * np.exp(-p["decay"] * s) - v) ** 2)


def spline(np: Any, c: Any, x: Any) -> Any:
    left = c[0] + c[1] * x + c[2] * x**2
    right = left + c[3] * (x - 0.1) ** 3
    return np.sum(np.where(x < 0.1, left, right) ** 2)


def polynomial_by_horner(np: Any, c: Any, x: Any) -> Any:
    y = c[-1] + 0 * x
    for k in range(len(c) - 2, -1, -1):
        y = y * x + c[k]
    return np.sum(y * y) / x.size


# --- networks ----------------------------------------------------------------------------------------------


def mlp(np: Any, params: Any, X: Any) -> Any:
    h = X
    for layer in params[:-1]:
        h = np.tanh(h @ layer["w"] + layer["b"])
    z = h @ params[-1]["w"] + params[-1]["b"]
    return np.mean(log_sum_exp(np, z, 1) - z[np.arange(len(LABELS)), LABELS])


def attention(np: Any, q: Any, k: Any, v: Any) -> Any:
    s = q @ k.T / np.sqrt(k.shape[1])
    e = np.exp(s - np.max(s, axis=-1, keepdims=True))
    return np.sum((e / np.sum(e, axis=-1, keepdims=True) @ v) ** 2)


def two_heads(np: Any, W: Any, x: Any) -> Any:
    n, d = x.shape
    q, k, v = (np.transpose(np.reshape(x @ W[j], (n, 2, d // 2)), (1, 0, 2)) for j in range(3))
    s = np.einsum("hid,hjd->hij", q, k)
    e = np.exp(s - np.max(s, axis=-1, keepdims=True)) * np.tril(np.ones((n, n)))
    y = np.einsum("hij,hjd->ihd", e / np.sum(e, axis=-1, keepdims=True), v)
    return np.mean(np.reshape(y, (n, d)) ** 2)


def layer_norm(np: Any, x: Any, scale: Any, shift: Any) -> Any:
    mean = np.mean(x, axis=-1, keepdims=True)
    normal = (x - mean) / np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-3)
    return np.sum(np.sin(normal * scale + shift))


def batch_norm(np: Any, x: Any, scale: Any) -> Any:
    normal = (x - np.mean(x, axis=0)) / (np.std(x, axis=0) + 0.1)
    return np.sum(np.log1p(np.exp(normal * scale)))


def lstm(np: Any, p: Any, xs: Any) -> Any:
    h, c = p["h"], p["c"]
    for t in range(3):
        z = xs[t] @ p["w"] + h @ p["u"] + p["b"]
        i, f, o, g = np.split(z, 4)
        c = sigmoid(np, f) * c + sigmoid(np, i) * np.tanh(g)
        h = sigmoid(np, o) * np.tanh(c)
    return np.sum(h * h) + np.sum(c)


def convolution(np: Any, kernel: Any, image: Any) -> Any:
    n, m = image.shape[0] - 2, image.shape[1] - 2
    y = 0.0
    for i in range(3):
        for j in range(3):
            y = y + kernel[i, j] * image[i : i + n, j : j + m]
    return np.mean(np.maximum(y, 0.0) ** 2)


def strided_pooling(np: Any, x: Any) -> Any:
    blocks = np.reshape(x[:4, :4], (2, 2, 2, 2))
    return np.sum(np.max(blocks, axis=(1, 3)) ** 2) + np.sum(x[::2, ::-1] * x[-1::-2, :])


def embedding(np: Any, E: Any, w: Any) -> Any:
    return np.sum(np.tanh(np.mean(E[WORDS], axis=1) @ w) ** 2)


def graph_network(np: Any, W: Any, x: Any) -> Any:
    reached = np.eye(5) + np.roll(np.eye(5), 1, axis=0)
    h = np.tanh(reached @ x @ W) / np.sum(reached, axis=1)[:, None]
    return np.prod(1.0 + h**2)


def triplet_loss(np: Any, a: Any, p: Any, n: Any) -> Any:
    def cosine(u: Any, v: Any) -> Any:
        return np.sum(u * v, axis=1) / np.sqrt(np.sum(u * u, axis=1) * np.sum(v * v, axis=1))

    return np.sum(np.maximum(0.0, cosine(a, n) - cosine(a, p) + 1.5))


# --- likelihoods and matrices ------------------------------------------------------------------------------


def gaussian_mixture(np: Any, p: Any, X: Any) -> Any:
    z = (X[:, None, :] - p["mu"]) / np.exp(p["log_s"])
    log_w = p["logits"] - log_sum_exp(np, p["logits"], 0)
    return -np.sum(log_sum_exp(np, log_w - 0.5 * np.sum(z**2, -1) - np.sum(p["log_s"], -1), 1))


def hidden_markov(np: Any, transition: Any, emission: Any) -> Any:
    alpha = emission[0]
    for t in range(1, 5):
        alpha = emission[t] + log_sum_exp(np, alpha[:, None] + transition, 0)
    return -log_sum_exp(np, alpha, 0)


def plackett_luce(np: Any, scores: Any) -> Any:
    tail = np.cumsum(np.exp(scores)[:, ::-1], axis=1)[:, ::-1]
    return np.mean(np.sum(np.log(tail) - scores, axis=1))


def lower_triangular_gaussian(np: Any, L: Any, x: Any) -> Any:
    y = x @ np.tril(L, -1) + x * np.exp(np.diag(L))
    return 0.5 * np.sum(y**2) - x.shape[0] * np.trace(L)


def kalman_filter(np: Any, log_q: Any, log_r: Any, y: Any) -> Any:
    F, h = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([1.0, 0.0])
    mean, P = np.array([0.1, 0.2]), np.eye(2)
    nll = 0.0
    for t in range(5):
        mean, P = F @ mean, F @ P @ F.T + np.exp(log_q) * np.eye(2)
        S = h @ P @ h + np.exp(log_r)
        K = P @ h / S
        e = y[t] - h @ mean
        mean, P = mean + K * e, P - np.outer(K, h @ P)
        nll = nll + 0.5 * (np.log(S) + e**2 / S)
    return nll


def reconstruction(np: Any, W: Any, X: Any) -> Any:
    centred = X - np.mean(X, axis=0)
    return np.sum((centred - centred @ W @ W.T) ** 2) + np.sum((W.T @ W - np.eye(2)) ** 2)


def matrix_factorisation(np: Any, U: Any, V: Any, M: Any) -> Any:
    return np.sum(np.where(OBSERVED, (M - U @ V.T) ** 2, 0.0)) + 0.1 * (np.sum(U**2) + np.sum(V**2))


def rbf_kernel(np: Any, X: Any, log_length: Any, a: Any) -> Any:
    d2 = np.sum((X[:, None, :] - X[None, :, :]) ** 2, axis=-1)
    return a @ np.exp(-0.5 * d2 * np.exp(-2 * log_length)) @ a


def tensor_network(np: Any, A: Any, B: Any, C: Any) -> Any:
    AB = np.tensordot(A, B, axes=([2, 0], [1, 0]))
    return np.einsum("ij,jk,ik->", AB, C, np.inner(AB, C.T)) + np.sum(np.kron(AB, C)) ** 2


def repeated_labels(np: Any, A: Any, B: Any) -> Any:
    return np.sum(np.einsum("iij,jk->k", A, B) ** 2) + np.einsum("ij,ij", B, B) * np.vdot(B, B)


# --- physics -----------------------------------------------------------------------------------------------


def rosenbrock(np: Any, x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def stencil_energy(np: Any, u: Any) -> Any:
    lap = 4 * u[1:-1, 1:-1] - u[:-2, 1:-1] - u[2:, 1:-1] - u[1:-1, :-2] - u[1:-1, 2:]
    return 0.5 * np.sum(lap**2) + np.sum(np.cos(u[1:-1, 1:-1]))


def total_variation(np: Any, u: Any) -> Any:
    dx, dy = u[:-1, 1:] - u[:-1, :-1], np.diff(u, axis=0)[:, :-1]
    return np.sum(np.sqrt(dx**2 + dy**2 + 1e-2)) + np.sum(np.pad(u, 1, "constant") ** 2)


def ode_residual(np: Any, u: Any, k: Any) -> Any:
    t = np.linspace(0.0, 1.0, 8)
    d = (u[2:] - u[:-2]) / (t[2:] - t[:-2])
    return np.sum((d + k * u[1:-1] ** 3 - np.sin(t[1:-1])) ** 2) + (u[0] - 1) ** 2


def runge_kutta(np: Any, p: Any, y0: Any, steps: int = 1) -> Any:
    def slope(y: Any) -> Any:
        return np.stack([p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]])

    y, h = y0, 0.05
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.sum((y - 1.0) ** 2)


def runge_kutta_20(np: Any, p: Any, y0: Any) -> Any:
    return runge_kutta(np, p, y0, steps=20)


def wave_equation(np: Any, u: Any, c: Any) -> Any:
    before, now = u, u + 0.01 * np.sin(u)
    for _ in range(4):
        before, now = now, 2 * now - before + c**2 * (np.roll(now, 1) - 2 * now + np.roll(now, -1))
    return np.sum(now * before)


def lennard_jones(np: Any, x: Any) -> Any:
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=-1) + 10 * np.eye(len(x))
    s6 = (1.5 / r2) ** 3
    return 0.5 * np.sum(s6**2 - s6)


def black_scholes(np: Any, spot: Any, strike: Any, rate: Any, sigma: Any, t: Any) -> Any:
    erf = special(np).erf
    d1 = (np.log(spot / strike) + (rate + sigma**2 / 2) * t) / (sigma * np.sqrt(t))
    d2 = d1 - sigma * np.sqrt(t)
    cdf = [0.5 * (1 + erf(d / math.sqrt(2))) for d in (d1, d2)]
    return np.sum(spot * cdf[0] - strike * np.exp(-rate * t) * cdf[1])


def rotation(np: Any, angles: Any, points: Any) -> Any:
    c, s = np.cos(angles), np.sin(angles)
    R = np.reshape(np.stack([c, -s, s, c], axis=-1), (-1, 2, 2))
    turned = np.swapaxes(R @ points.T, 1, 2)
    return np.sum(np.arctan2(turned[..., 0], 3 + turned[..., 1]) ** 2)


def sharpe_ratio(np: Any, w: Any, returns: Any) -> Any:
    weights = np.exp(w) / np.sum(np.exp(w))
    gain = returns @ weights
    return -np.mean(gain) / np.std(gain) + 0.1 * np.max(weights) + np.min(gain)


def signal_filter(np: Any, taps: Any, x: Any) -> Any:
    padded = np.concatenate([x[1:4][::-1], x, x[-4:-1][::-1]])
    y = sum(taps[k] * padded[k : k + len(x)] for k in range(7))
    return (
        np.sum(np.abs(y) ** 1.5)
        + np.sum(np.clip(y, -0.4, 0.4))
        + np.sum(np.tile(taps, 2) * np.repeat(taps, 2))
    )


def square_root_by_newton(np: Any, a: Any) -> Any:
    x = 1.0 + 0 * a
    for _ in range(6):
        x = 0.5 * (x + a / x)
    return np.sum(x**3)


def chain(np: Any, x: Any, a: Any, b: Any) -> Any:
    return np.sum(np.tanh(a * x + b) * np.exp(-x * x) + np.log1p(x * x))


# --- the table ---------------------------------------------------------------------------------------------


def normal(*shape: int) -> Callable[[numpy.random.Generator], Any]:
    return lambda rng: rng.standard_normal(shape)


def positive(*shape: int) -> Callable[[numpy.random.Generator], Any]:
    return lambda rng: rng.uniform(0.5, 1.5, shape)


class Program(NamedTuple):
    """A loss, generators of its arguments, and how many of these (the first ones) are differentiated by.

    has_peers: autograd has all of its functions; is_compiled: it compiles in seconds
    """

    loss: Callable[..., Any]
    arguments: tuple[Tree, ...]
    count: int
    has_peers: bool = True
    is_compiled: bool = True


PROGRAMS = [
    Program(least_squares, (normal(3), normal(), normal(7, 3), normal(7)), 4),
    Program(elastic_net, (normal(3), normal(7, 3), normal(7)), 1),
    Program(logistic_regression, (normal(3), normal(), normal(7, 3)), 2),
    Program(softmax_regression, (normal(4, 3), normal(7, 4)), 2),
    Program(poisson_regression, (normal(3), normal(7, 3)), 1),
    Program(student_t, (normal(), normal(), positive(), normal(6)), 4),
    Program(quantile_loss, (normal(3), normal(7, 3), normal(7)), 1),
    Program(hinge_loss, (normal(3), normal(), normal(7, 3)), 2),
    Program(cox_survival, (normal(3), normal(7, 3)), 1),
    Program(
        michaelis_menten,
        ({"vmax": positive(), "km": positive(), "decay": positive()}, positive(9), normal(9)),
        1,
    ),
    Program(spline, (normal(4), normal(9)), 1),
    Program(polynomial_by_horner, (normal(5), normal(4)), 2),
    Program(
        mlp, ([{"w": normal(4, 5), "b": normal(5)}, {"w": normal(5, 3), "b": normal(3)}], normal(7, 4)), 2
    ),
    Program(attention, (normal(5, 3), normal(4, 3), normal(4, 2)), 3),
    Program(two_heads, (normal(3, 4, 4), normal(5, 4)), 2),
    Program(layer_norm, (normal(4, 6), normal(6), normal(6)), 3),
    Program(batch_norm, (normal(7, 3), normal(3)), 2),
    Program(
        lstm,
        (
            {"w": normal(2, 12), "u": normal(3, 12), "b": normal(12), "h": normal(3), "c": normal(3)},
            normal(3, 2),
        ),
        1,
    ),
    Program(convolution, (normal(3, 3), normal(6, 7)), 2),
    Program(strided_pooling, (normal(4, 6),), 1),
    Program(embedding, (normal(5, 3), normal(3, 2)), 2),
    Program(graph_network, (normal(3, 2), normal(5, 3)), 2),
    Program(triplet_loss, (normal(4, 3), normal(4, 3), normal(4, 3)), 3),
    Program(
        gaussian_mixture, ({"mu": normal(3, 2), "log_s": normal(3, 2), "logits": normal(3)}, normal(8, 2)), 1
    ),
    Program(hidden_markov, (normal(3, 3), normal(5, 3)), 2),
    Program(plackett_luce, (normal(4, 5),), 1),
    Program(lower_triangular_gaussian, (normal(4, 4), normal(6, 4)), 2),
    Program(kalman_filter, (normal(), normal(), normal(5)), 3),
    Program(reconstruction, (normal(4, 2), normal(7, 4)), 2),
    Program(matrix_factorisation, (normal(5, 2), normal(4, 2), normal(5, 4)), 2),
    Program(rbf_kernel, (normal(6, 2), normal(), normal(6)), 3),
    Program(tensor_network, (normal(2, 3, 4), normal(2, 4, 2), normal(2, 3)), 3),
    Program(repeated_labels, (normal(3, 3, 4), normal(4, 2)), 2, has_peers=False),
    Program(rosenbrock, (normal(9),), 1),
    Program(stencil_energy, (normal(6, 7),), 1),
    Program(total_variation, (normal(5, 6),), 1),
    Program(ode_residual, (normal(8), positive()), 2),
    Program(runge_kutta, (positive(4), positive(2)), 2),
    Program(runge_kutta_20, (positive(4), positive(2)), 2, is_compiled=False),
    Program(wave_equation, (normal(8), positive()), 2),
    Program(lennard_jones, (normal(5, 3),), 1),
    Program(black_scholes, (positive(6), positive(6), positive(), positive(6), positive(6)), 5),
    Program(rotation, (normal(3), normal(4, 2)), 2),
    Program(sharpe_ratio, (normal(4), normal(9, 4)), 1),
    Program(signal_filter, (normal(7), normal(10)), 2),
    Program(square_root_by_newton, (positive(5),), 1),
    Program(chain, (normal(37), normal(), normal()), 3),
]

QUICK = {
    least_squares,
    softmax_regression,
    student_t,
    layer_norm,
    embedding,
    rosenbrock,
    stencil_energy,
    chain,
}


def programs(chosen: Callable[[Program], bool]) -> pytest.MarkDecorator:
    rows = [p for p in PROGRAMS if chosen(p)]
    return pytest.mark.parametrize("program", rows, ids=lambda p: p.loss.__name__)


everywhere = programs(lambda p: True)
compiled = programs(lambda p: p.is_compiled)
quick = programs(lambda p: p.loss in QUICK)


class Case:
    """A program with its numbers: `f` on NumPy, `args`, and a direction `v` of the differentiated ones."""

    def __init__(self, program: Program) -> None:
        rng = numpy.random.default_rng(len(program.loss.__name__))
        self.loss = program.loss
        self.args = map_leaves(lambda make: make(rng), program.arguments)
        self.argnums = tuple(range(program.count))
        self.v = map_leaves(lambda x: rng.standard_normal(numpy.shape(x)), self.args[: program.count])

    def f(self, *args: Any) -> Any:
        return self.loss(numpy, *args)

    def on(self, np: Any) -> Callable[..., Any]:
        return lambda *args: self.loss(np, *args)

    def moved(self, step: float) -> tuple[Any, ...]:
        leaves, treedef = flatten(self.args[: len(self.argnums)])
        moved = treedef.unflatten([x + step * v for x, v in zip(leaves, flatten(self.v)[0])])
        return (*moved, *self.args[len(self.argnums) :])


def dot(a: Tree, b: Tree) -> float:
    """The inner product of two trees."""
    return sum(float(numpy.sum(x * y)) for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True))


def close(a: Tree, b: Tree, rtol: float) -> None:
    """Every leaf agrees, relative to its largest element."""
    for x, y in zip(flatten(a)[0], flatten(b)[0], strict=True):
        scale = float(numpy.max(numpy.abs(y), initial=1.0))
        numpy.testing.assert_allclose(x, y, rtol=0, atol=rtol * scale)


# Sums in another order: some units in the last place for each of at most some hundred terms.
ROUNDING = 1e-11


@compiled
def test_the_value_is_numpys_and_the_gradient_that_of_differences(program: Program) -> None:
    agrees_with_differences(program, ROUNDING)


@compiled
def test_value_and_gradient_are_those_of_autograd(program: Program) -> None:
    agrees_with_autograd(program, ROUNDING)


@compiled
def test_value_and_gradient_are_those_of_jax(program: Program) -> None:
    agrees_with_jax(program, ROUNDING)


@everywhere
@pytest.mark.usefixtures("evaluated")
def test_second_derivatives_are_those_of_differences_of_the_gradient(program: Program) -> None:
    hessian_product_agrees(program)


@quick
def test_compiled_second_derivatives_are_too(program: Program) -> None:
    hessian_product_agrees(program)


def agrees_with_differences(program: Program, tolerance: float, fuse: bool = True) -> None:
    """The value is NumPy's, and the gradient along one direction that of a central difference."""
    case = Case(program)
    value, grads = tj.value_and_grad(case.f, case.argnums, fuse=fuse)(*case.args)
    close(value, case.f(*case.args), tolerance)
    h = 1e-6
    # The error of a central difference: h^2 times a third derivative, and rounding divided by h.
    close(dot(grads, case.v), (case.f(*case.moved(h)) - case.f(*case.moved(-h))) / (2 * h), 1e-6)


def agrees_with_autograd(program: Program, tolerance: float) -> None:
    autograd = pytest.importorskip("autograd")
    if not program.has_peers:
        pytest.skip("autograd has no derivative of a function in it")
    case = Case(program)
    anp = importlib.import_module("autograd.numpy")
    found = tj.value_and_grad(case.f, case.argnums)(*case.args)
    gradient = autograd.grad(case.on(anp), case.argnums)
    close(found, (case.f(*case.args), gradient(*case.args)), tolerance)


def agrees_with_jax(program: Program, tolerance: float) -> None:
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    case = Case(program)
    jnp = importlib.import_module("jax.numpy")
    found = tj.value_and_grad(case.f, case.argnums)(*case.args)
    expected = jax.value_and_grad(case.on(jnp), case.argnums)(*case.args)
    close(found, map_leaves(numpy.asarray, expected), tolerance)


def hessian_product_agrees(program: Program) -> None:
    case = Case(program)
    count = len(case.argnums)
    gradient = tj.grad(case.f, case.argnums)
    _, product = tj.jvp(lambda *moving: gradient(*moving, *case.args[count:]), case.args[:count], case.v)
    h = 1e-6
    ends = [flatten(gradient(*case.moved(step)))[0] for step in (h, -h)]
    close(flatten(product)[0], [(a - b) / (2 * h) for a, b in zip(*ends)], 1e-6)


@quick
def test_fused_and_unfused_agree(program: Program) -> None:
    case = Case(program)
    fused = tj.value_and_grad(case.f, case.argnums)(*case.args)
    close(fused, tj.value_and_grad(case.f, case.argnums, fuse=False)(*case.args), ROUNDING)


@quick
def test_single_precision_stays_single_and_is_near(program: Program) -> None:
    case = Case(program)
    singles = map_leaves(lambda x: numpy.float32(x), case.args)
    found = tj.value_and_grad(case.f, case.argnums)(*singles)
    exact = tj.value_and_grad(case.f, case.argnums)(*map_leaves(lambda x: numpy.float64(x), singles))
    # 2^-24 = 6e-8 a rounding, a few hundred of them, and a condition number of a few tens in places.
    close(found, exact, 2e-4)
    # A captured float64 array, or NumPy's own constant of that type, promotes the value; gradients never.
    assert {x.dtype for x in flatten(found[1])[0]} == {numpy.dtype("f4")}
    assert found[0].dtype == case.f(*singles).dtype
