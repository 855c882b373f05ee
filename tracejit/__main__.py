"""The demo, `python -m tracejit`: the tutorial and a longer chain drawn, compiled, checked and timed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tracejit as tj
from tracejit.progress import Progress

TOLERANCE = 1e-12


@tj.grad_jit
def loss(params: Any, x: Any, y: Any) -> Any:
    z = x @ params["w"] + params["b"]
    return tj.nn.binary_cross_entropy_with_logits(z, y)


@tj.grad_jit(argnums=(0, 1, 2))
def chain(x: Any, a: float, b: float) -> Any:
    return np.sum(np.tanh(a * x + b) * np.exp(-x * x) + np.log1p(x * x))


def closed_form_loss(params: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The tutorial's value and gradients by hand: the loss falls along sigmoid(z) - y."""
    z = x @ params["w"] + params["b"]
    p = 1 / (1 + np.exp(-z))
    value = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))
    dz = (p - y) / z.size
    return value, {"w": np.outer(x, dz), "b": dz}


def closed_form_chain(x: Any, a: float, b: float) -> tuple[Any, Any]:
    """The chain's value and gradients by hand."""
    t, e = np.tanh(a * x + b), np.exp(-x * x)
    value = np.sum(t * e + np.log1p(x * x))
    dt = (1 - t * t) * e
    dx = a * dt - 2 * x * t * e + 2 * x / (1 + x * x)
    return value, (dx, np.sum(dt * x), np.sum(dt))


def largest_error(found: Any, expected: Any) -> float:
    """The largest difference between two nestings of arrays, relative to the largest number of each array."""
    if isinstance(expected, dict):
        return max(largest_error(found[key], expected[key]) for key in expected)
    if isinstance(expected, tuple):
        return max(largest_error(a, b) for a, b in zip(found, expected, strict=True))
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


def check(
    title: str, function: Callable[..., Any], closed_form: Callable[..., Any], args: tuple[Any, ...]
) -> bool:
    """Compare value and gradients with the closed form, and say how far apart they are."""
    error = largest_error(function(*args), closed_form(*args))
    passed = error < TOLERANCE
    verdict = "ok" if passed else "WRONG"
    print(f"{title}: value and gradient differ from the closed form by {error:.1e}: {verdict}")
    return passed


def heading(text: str) -> None:
    print(f"\n== {text} ==\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns 0, or 1 where a check fails."""
    parser = argparse.ArgumentParser(
        prog="python -m tracejit",
        description="Draw, compile, check and time the tutorial's loss, and a chain on more data.",
    )
    parser.add_argument(
        "--size", type=int, default=1_000_000, help="elements of the chain (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="how long each variant is timed, about (default: %(default)s)",
    )
    parser.add_argument(
        "--progress", action="store_true", help="show the progress bar also where there is no terminal"
    )
    options = parser.parse_args(arguments)
    show = True if options.progress else None
    if options.size < 1 or options.seconds <= 0:
        parser.error("--size and --seconds must be positive")
    rng = np.random.default_rng(0)
    tutorial = ({"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}, np.ones(5), np.zeros(3))
    data = (rng.normal(size=options.size), 0.7, 0.1)

    with Progress("compiling", 2, show) as bar:
        drawing = tj.draw(loss)(*tutorial)
        bar.advance("the tutorial")
        stages = tj.inspect(loss)(*tutorial)
        bar.advance()
    heading("the computational graph of the tutorial's loss, as text and as Mermaid")
    print(f"{drawing.arrows}\n\n{drawing}")
    heading(f"its value and gradient: {stages.kernels} kernel, {stages.bytes_moved} bytes moved")
    print(stages.source.partition("\n\n\ndef program")[0])
    heading("checks")
    passed = [
        check("tutorial", loss, closed_form_loss, tutorial),
        check(f"chain of {options.size:,}", chain, closed_form_chain, data),
    ]
    heading("a call of each: NumPy runs the forward alone, the others value and gradient")
    for function, args in ((loss, tutorial), (chain, data)):
        print(tj.compare(function, seconds=options.seconds, progress=show)(*args), end="\n\n")
    print("ok: every check passed" if all(passed) else "a check failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
