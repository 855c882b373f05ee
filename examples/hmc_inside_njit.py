"""Hamiltonian Monte Carlo inside one `@njit` function: a Bayesian linear regression whose posterior is known.

Prior and noise are normal, so the posterior is normal too: mean and covariance have closed forms, and the
sampler must find both. A random-walk Metropolis sampler, with the density alone, is beside it.
"""

import os

import numba
import numpy as np

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
SAMPLES = 20_000 if FAST else 100_000
ROWS, FEATURES = 60, 3
NOISE, PRIOR = 0.7, 2.0  # standard deviations
STEP, LEAPS = 0.08, 9

rng = np.random.default_rng(1)
X = rng.normal(size=(ROWS, FEATURES))
Y = X @ np.array([1.0, -2.0, 0.5]) + NOISE * rng.normal(size=ROWS)


@tj.grad_jit
def energy(w):
    """Minus the logarithm of the posterior density, up to a constant; the data are captured arrays."""
    residual = (X @ w - Y) / NOISE
    return 0.5 * np.sum(residual**2) + 0.5 * np.sum((w / PRIOR) ** 2)


@numba.njit
def hmc(w, count, seed):
    """Samples of w: f64[count, n], and the share of proposals that were accepted."""
    np.random.seed(seed)
    samples = np.empty((count, len(w)))
    accepted = 0
    value, slope = energy(w)
    for k in range(count):
        momentum = np.random.standard_normal(len(w))
        before = value + 0.5 * np.sum(momentum**2)
        new_w, new_value, new_slope = w, value, slope
        step = STEP * np.random.uniform(0.8, 1.2)  # so that no trajectory has a period
        for _ in range(LEAPS):
            momentum = momentum - 0.5 * step * new_slope
            new_w = new_w + step * momentum
            new_value, new_slope = energy(new_w)
            momentum = momentum - 0.5 * step * new_slope
        after = new_value + 0.5 * np.sum(momentum**2)
        if np.log(np.random.random()) < before - after:
            w, value, slope = new_w, new_value, new_slope
            accepted += 1
        samples[k] = w
    return samples, accepted / count


@numba.njit
def metropolis(w, count, seed):
    """The same by a random walk, which needs no gradient: `energy.value`."""
    np.random.seed(seed)
    samples = np.empty((count, len(w)))
    accepted = 0
    value = energy.value(w)
    for k in range(count):
        new_w = w + 0.12 * np.random.standard_normal(len(w))
        new_value = energy.value(new_w)
        if np.log(np.random.random()) < value - new_value:
            w, value = new_w, new_value
            accepted += 1
        samples[k] = w
    return samples, accepted / count


def main():
    precision = X.T @ X / NOISE**2 + np.eye(FEATURES) / PRIOR**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ (X.T @ Y) / NOISE**2
    deviation = np.sqrt(np.diag(covariance))
    print(f"exact       mean {mean.round(4)}  deviation {deviation.round(4)}")

    for name, sampler, tolerance in (("HMC", hmc, 0.03), ("Metropolis", metropolis, 0.15)):
        samples, accepted = sampler(np.zeros(FEATURES), SAMPLES, 7)
        samples = samples[500:]
        error = np.abs(samples.mean(axis=0) - mean) / deviation
        scale = np.sqrt(np.diag(covariance)[:, None] * np.diag(covariance))
        spread = np.abs(np.cov(samples.T) - covariance) / scale
        found = f"mean {samples.mean(axis=0).round(4)}  deviation {samples.std(axis=0).round(4)}"
        print(f"{name:10}  {found}  accepted {accepted:.0%}")
        assert error.max() < tolerance, error
        assert spread.max() < tolerance, spread
        assert 0.3 < accepted < 0.99, accepted

    print(f"ok: mean and covariance of {SAMPLES} samples are those of the exact posterior")


if __name__ == "__main__":
    main()
