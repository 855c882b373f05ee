"""Functions of neural networks, written in NumPy: they take traced values, and plain arrays just as well.

Arrays are float; `axis` counts as in NumPy; nothing overflows where the result does not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

from tracejit.api import stop_gradient
from tracejit.errors import ArgumentError, ShapeError
from tracejit.frontend import Tracer
from tracejit.frontend.dispatch import apply
from tracejit.ir import calling, is_floating
from tracejit.ops import special

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "elu",
    "gelu",
    "huber",
    "layer_norm",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "mse",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def _as_operation(function: Function) -> Function:
    """Decorate a function whose equations are one operation to the user, and one node of a drawing."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with calling(function.__name__):
            return function(*args, **kwargs)

    return cast(Function, call)


def _traced_by(operation: Callable[..., Any]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Decorate a NumPy function of one array: a traced argument goes to `operation` instead."""

    def decorate(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        @functools.wraps(function)
        def call(x: Any) -> Any:
            if isinstance(x, Tracer):
                return apply(Tracer, operation, function.__name__, (x,), {}, True)
            return function(x)

        return call

    return decorate


# --- activations --------------------------------------------------------------------------------------------


@_traced_by(special.sigmoid)
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), of any shape.

    >>> tj.nn.sigmoid(np.array([-800.0, 0.0, 800.0]))
    array([0. , 0.5, 1. ])
    """
    x = _floats(x)
    e = np.exp(-np.abs(x))
    return (np.where(x >= 0, 1, e) / (1 + e)).astype(x.dtype)[()]


@_traced_by(special.softplus)
def softplus(x: Any) -> Any:
    """log(1 + exp(x)), of any shape.

    >>> tj.nn.softplus(np.array([-800.0, 800.0]))
    array([  0., 800.])
    """
    x = _floats(x)
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)[()]


@_traced_by(special.erf)
def _erf(x: Any) -> Any:
    import scipy.special

    return scipy.special.erf(x)


@_as_operation
def log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)), of any shape.

    >>> tj.nn.log_sigmoid(np.array([-800.0, 800.0]))
    array([-800.,   -0.])
    """
    return -softplus(-x)


@_as_operation
def relu(x: Any) -> Any:
    """max(x, 0); the derivative at 0 is 0.

    >>> tj.nn.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.where(x > 0, x, 0)


@_as_operation
def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x above 0 and slope * x below; the derivative at 0 is `slope`.

    >>> tj.nn.leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return np.where(x > 0, x, slope * x)


@_as_operation
def elu(x: Any, alpha: float = 1.0) -> Any:
    """x above 0 and alpha * (exp(x) - 1) below.

    >>> tj.nn.elu(np.array([-800.0, 2.0]))
    array([-1.,  2.])
    """
    # The exponential sees no positive numbers: an infinite one would turn the other branch's zero into NaN.
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))


@_as_operation
def gelu(x: Any, approximate: bool = False) -> Any:
    """x times the normal distribution function of x; `approximate` takes the tanh form.

    D. Hendrycks, K. Gimpel: Gaussian error linear units, arXiv:1606.08415.

    >>> tj.nn.gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    if approximate:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + _erf(x * math.sqrt(0.5)))


@_as_operation
def silu(x: Any) -> Any:
    """x * sigmoid(x), also called swish.

    >>> tj.nn.silu(np.array([-800.0, 0.0, 800.0]))
    array([ -0.,   0., 800.])
    """
    return x * sigmoid(x)


# --- over an axis -------------------------------------------------------------------------------------------


@_as_operation
def logsumexp(x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over `axis` (default: all).

    >>> tj.nn.logsumexp(np.array([1000.0, 1000.0])).round(6)
    np.float64(1000.693147)
    """
    largest = _finite_max(x, axis)
    with np.errstate(divide="ignore"):
        result = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return result if keepdims else np.squeeze(result, axis=axis)


@_as_operation
def softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """exp(x) divided by its sum over `axis`.

    >>> tj.nn.softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    e = np.exp(x - stop_gradient(np.max(x, axis=axis, keepdims=True)))
    return e / np.sum(e, axis=axis, keepdims=True)


@_as_operation
def log_softmax(x: Any, axis: int | tuple[int, ...] = -1) -> Any:
    """The logarithm of `softmax(x, axis)`.

    >>> tj.nn.log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    shifted = x - stop_gradient(np.max(x, axis=axis, keepdims=True))
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


@_as_operation
def layer_norm(
    x: Any, scale: Any = None, shift: Any = None, axis: int | tuple[int, ...] = -1, eps: float = 1e-5
) -> Any:
    """x with mean 0 and variance 1 over `axis`, then times `scale` plus `shift` where they are given.

    >>> tj.nn.layer_norm(np.array([1.0, 3.0]), eps=0.0)
    array([-1.,  1.])
    """
    centred = x - np.mean(x, axis=axis, keepdims=True)
    result = centred / np.sqrt(np.mean(centred * centred, axis=axis, keepdims=True) + eps)
    result = result if scale is None else result * scale
    return result if shift is None else result + shift


@_as_operation
def one_hot(labels: Any, classes: int, dtype: Any = np.float64) -> Any:
    """An array of shape `(*labels.shape, classes)` with 1 at each label; labels out of range give zeros.

    >>> tj.nn.one_hot(np.array([1, 0]), 3)
    array([[0., 1., 0.],
           [1., 0., 0.]])
    """
    labels = labels if isinstance(labels, Tracer) else np.asarray(labels)
    return (np.expand_dims(labels, -1) == np.arange(classes)).astype(dtype)


# --- losses -------------------------------------------------------------------------------------------------


@_as_operation
def binary_cross_entropy_with_logits(z: Any, y: Any, reduction: str = "mean") -> Any:
    """-(y log p + (1 - y) log(1 - p)) for p = sigmoid(z), with logits `z` and targets `y` in [0, 1].

    z, y: arrays of shapes that broadcast; reduction: "mean", "sum" or "none"

    >>> tj.nn.binary_cross_entropy_with_logits(np.array([0.0, 800.0]), np.array([1.0, 1.0]))
    np.float64(0.34657359027997264)
    """
    # log p = z - softplus(z) and log(1 - p) = -softplus(z), so the loss is softplus(z) - z y; its gradient,
    # sigmoid(z) - y, needs the same exp(-|z|).
    return _reduced(softplus(z) - z * y, reduction)


@_as_operation
def cross_entropy(logits: Any, targets: Any, axis: int = -1, reduction: str = "mean") -> Any:
    """-log softmax(logits) at the targets: integer labels, or probabilities of the shape of the logits.

    logits: f64[..., k]; targets: integers without the axis `axis`, or floats of the same shape as the logits
    reduction: "mean" (over everything but the axis), "sum" or "none"

    >>> tj.nn.cross_entropy(np.array([[0.0, 0.0], [800.0, 0.0]]), np.array([1, 0]))
    np.float64(0.34657359027997264)
    >>> tj.nn.cross_entropy(np.array([[0.0, 0.0]]), np.array([[0.5, 0.5]]))
    np.float64(0.6931471805599453)
    """
    targets = targets if isinstance(targets, Tracer) else np.asarray(targets)
    log_p = log_softmax(logits, axis)
    if is_floating(targets.dtype):
        return _reduced(-np.sum(targets * log_p, axis=axis), reduction)
    if targets.dtype.kind not in "iu":
        raise ArgumentError(
            f"cross_entropy: targets have dtype {targets.dtype}",
            hint="give integer labels, or float probabilities",
        )
    k = axis % len(log_p.shape)
    expected = log_p.shape[:k] + log_p.shape[k + 1 :]
    if targets.shape != expected:
        raise ShapeError(
            f"cross_entropy: labels of shape {list(targets.shape)} do not fit logits of shape "
            f"{list(log_p.shape)}",
            hint=f"labels must have shape {list(expected)}",
        )
    picked = np.take_along_axis(log_p, np.expand_dims(targets, k), axis=k)
    return _reduced(-np.squeeze(picked, axis=k), reduction)


@_as_operation
def mse(prediction: Any, target: Any, reduction: str = "mean") -> Any:
    """The squared difference.

    >>> tj.nn.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    np.float64(2.0)
    """
    difference = prediction - target
    return _reduced(difference * difference, reduction)


@_as_operation
def huber(prediction: Any, target: Any, delta: float = 1.0, reduction: str = "mean") -> Any:
    """Half the squared difference up to `delta`, linear beyond it: delta * (|d| - delta / 2).

    >>> tj.nn.huber(np.array([0.0, 0.0]), np.array([0.5, 3.0]), reduction="none")
    array([0.125, 2.5  ])
    """
    difference = prediction - target
    size = np.abs(difference)
    inner = 0.5 * difference * difference
    return _reduced(np.where(size <= delta, inner, delta * (size - 0.5 * delta)), reduction)


# --- shared -------------------------------------------------------------------------------------------------

_REDUCTIONS: dict[str, Callable[[Any], Any]] = {"mean": np.mean, "sum": np.sum, "none": lambda x: x}


def _reduced(losses: Any, reduction: str) -> Any:
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"reduction {reduction!r} is not known", hint=f"use one of {', '.join(map(repr, _REDUCTIONS))}"
        )
    return _REDUCTIONS[reduction](losses)


def _floats(x: Any) -> Any:
    x = np.asarray(x)
    return x if is_floating(x.dtype) else x.astype(np.float64)


def _finite_max(x: Any, axis: int | Sequence[int] | None) -> Any:
    """The largest element as a constant; 0 where it is infinite, where subtracting would give NaN."""
    largest = stop_gradient(np.max(x, axis=axis, keepdims=True))
    return np.where(np.isfinite(largest), largest, 0)
