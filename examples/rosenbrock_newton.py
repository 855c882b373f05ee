"""Second derivatives: Newton's method with conjugate gradients on the Rosenbrock function.

A Hessian-vector product is the directional derivative of the gradient, `jvp(grad(f))`, and costs a few
evaluations whatever the dimension. In ten dimensions the full Hessian is built from its products with unit
vectors and compared with the one by hand.
"""

import os

import numpy as np

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
SIZE = 1_000 if FAST else 100_000


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


gradient = tj.grad_jit(rosenbrock)


@tj.jit
def hessian_times(x, v):
    return tj.jvp(tj.grad(rosenbrock), (x,), (v,))[1]


def hessian_by_hand(x):
    diagonal = np.zeros_like(x)
    diagonal[:-1] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    diagonal[1:] += 200
    beside = -400 * x[:-1]
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)


def solve(x, g, tolerance, steps=200):
    """Conjugate gradients on `H(x) p = -g`; stops where the curvature is not positive."""
    p, r = np.zeros_like(g), -g
    d, rr = r, r @ r
    for _ in range(steps):
        if np.sqrt(rr) <= tolerance:
            break
        h = hessian_times(x, d)
        curvature = d @ h
        if curvature <= 0:
            return p if p.any() else d
        step = rr / curvature
        p, r = p + step * d, r - step * h
        rr, previous = r @ r, rr
        d = r + (rr / previous) * d
    return p


def minimise(x, tolerance=1e-8):
    """Newton's method with a backtracking line search."""
    for iteration in range(200):
        value, g = gradient(x)
        norm = np.sqrt(g @ g)
        print(f"iteration {iteration:2d}  value {value:12.4e}  gradient {norm:.1e}")
        if norm < tolerance:
            break
        p = solve(x, g, min(0.1, np.sqrt(norm)) * norm)
        length = 1.0
        while gradient.value(x + length * p) > value + 1e-4 * length * (g @ p) and length > 1e-10:
            length /= 2
        x = x + length * p
    return x


def main():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(10)
    hessian = np.stack([hessian_times(x, unit) for unit in np.eye(10)], axis=1)
    np.testing.assert_allclose(hessian, hessian_by_hand(x), rtol=1e-12, atol=1e-10)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12, atol=1e-10)
    print("the Hessian in 10 dimensions equals the one by hand\n")

    start = 1 + 0.3 * rng.standard_normal(SIZE)
    solution = minimise(start)
    error = np.abs(solution - 1).max()
    assert error < 1e-6, error
    print(f"ok: {SIZE} variables are within {error:.0e} of the minimum at ones")


if __name__ == "__main__":
    main()
