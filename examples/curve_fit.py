"""A curve fit with scipy.optimize: ten parameters, fifty points, value and gradient from one compiled call.

Three Gaussian peaks on a constant background are fitted to noisy data. `minimize(..., jac=True)` takes what
`grad_jit` gives, `(value, gradient)`, as it is.
"""

import numpy as np
from scipy.optimize import minimize

import tracejit as tj

TRUE = np.array([1.0, 2.0, 1.5, -2.0, 0.0, 2.5, 0.6, 0.8, 0.5, 0.3])
START = np.array([0.8, 1.5, 1.2, -1.6, 0.3, 2.2, 0.8, 0.8, 0.8, 0.0])
NOISE = 0.02


def model(p, x):
    heights, centres, widths, background = p[0:3], p[3:6], p[6:9], p[9]
    peaks = heights * np.exp(-(((x[:, None] - centres) / widths) ** 2))
    return np.sum(peaks, axis=1) + background


@tj.grad_jit
def misfit(p, x, y):
    return np.sum((model(p, x) - y) ** 2)


def main():
    rng = np.random.default_rng(0)
    x = np.linspace(-4, 4, 50)
    y = model(TRUE, x) + NOISE * rng.standard_normal(x.size)

    fit = minimize(misfit, START, args=(x, y), jac=True, method="BFGS", options={"gtol": 1e-6})
    by_differences = minimize(misfit.value, START, args=(x, y), method="BFGS")

    print("parameter    true   start  fitted")
    for k, row in enumerate(zip(TRUE, START, fit.x, strict=True)):
        print(f"   p[{k}]   " + "  ".join(f"{number:6.3f}" for number in row))
    residual = np.sqrt(fit.fun / x.size)
    print(f"residual {residual:.4f}, noise {NOISE}")
    print(f"evaluations: {fit.nfev} with the gradient, {by_differences.nfev} with differences")

    assert fit.success, fit.message
    assert residual < 1.5 * NOISE, residual
    assert np.abs(fit.x - TRUE).max() < 0.1, fit.x - TRUE
    assert fit.nfev < by_differences.nfev
    tj.check_grads(misfit.value, (TRUE, x, y), order=1)
    print(f"ok: {TRUE.size} parameters are recovered to {np.abs(fit.x - TRUE).max():.3f}")


if __name__ == "__main__":
    main()
