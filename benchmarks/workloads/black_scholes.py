"""The value of a portfolio of European calls after Black and Scholes; delta, theta, vega and rho."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from benchmarks.workload import NOT_FOR_CASADI, Size, Workload

ROOT_HALF = float(np.sqrt(0.5))
ROOT_TWO_PI = float(np.sqrt(2 * np.pi))


def normal_cdf(x: Any) -> Any:
    return 0.5 + 0.5 * special.erf(ROOT_HALF * x)


def loss(spot: Any, strike: Any, years: Any, volatility: Any, rate: Any) -> Any:
    deviation = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / deviation
    d2 = d1 - deviation
    return np.sum(spot * normal_cdf(d1) - strike * np.exp(-rate * years) * normal_cdf(d2))


def by_hand(spot: Any, strike: Any, years: Any, volatility: Any, rate: Any) -> tuple[Any, tuple[Any, ...]]:
    root = np.sqrt(years)
    deviation = volatility * root
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility * volatility) * years) / deviation
    delta = special.ndtr(d1)
    paid = strike * np.exp(-rate * years) * special.ndtr(d1 - deviation)
    density = spot * np.exp(-0.5 * d1 * d1) / ROOT_TWO_PI
    theta = density * volatility / (2 * root) + rate * paid
    return np.sum(spot * delta - paid), (delta, theta, density * root, np.sum(years * paid))


def inputs(options: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    spot, strike = rng.uniform(80, 120, options), rng.uniform(80, 120, options)
    return spot, strike, rng.uniform(0.1, 2, options), rng.uniform(0.1, 0.5, options), np.float64(0.03)


def numba_limit() -> Any:
    from math import sqrt

    from benchmarks import hand_math as m

    @m.function
    def half_tail(x: float, e: float) -> float:
        """The normal distribution at x, from e = exp(-x^2 / 2), which the density needs too."""
        tail = 0.5 * e * m.erfcx(abs(x) * ROOT_HALF)
        return 1.0 - tail if x >= 0.0 else tail

    @m.kernel
    def fill(
        spot: Any, strike: Any, years: Any, volatility: Any, rate: float, delta: Any, theta: Any, vega: Any
    ) -> Any:
        value, rho = 0.0, 0.0
        for i in range(spot.size):
            s, t, v = spot[i], years[i], volatility[i]
            root = sqrt(t)
            d1 = (m.log(s / strike[i]) + (rate + 0.5 * v * v) * t) / (v * root)
            discounted = strike[i] * m.exp(-rate * t)
            e = m.exp(-0.5 * d1 * d1)
            # s e(d1) equals the discounted strike times e(d2), so one exponential serves both tails.
            n1, n2 = half_tail(d1, e), half_tail(d1 - v * root, e * s / discounted)
            paid = discounted * n2
            density = s * e * (1.0 / ROOT_TWO_PI)
            value += s * n1 - paid
            rho += t * paid
            delta[i], vega[i] = n1, density * root
            theta[i] = 0.5 * density * v / root + rate * paid
        return value, rho

    def greeks(spot: Any, *others: Any) -> Any:
        delta, theta, vega = np.empty_like(spot), np.empty_like(spot), np.empty_like(spot)
        value, rho = fill(spot, *others, delta, theta, vega)
        return value, delta, theta, vega, rho

    return greeks


def torch_eager() -> Any:
    import torch

    def eager(spot: Any, strike: Any, years: Any, volatility: Any, rate: Any) -> Any:
        deviation = volatility * torch.sqrt(years)
        d1 = (torch.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / deviation
        n1 = 0.5 + 0.5 * torch.erf(ROOT_HALF * d1)
        n2 = 0.5 + 0.5 * torch.erf(ROOT_HALF * (d1 - deviation))
        return (spot * n1 - strike * torch.exp(-rate * years) * n2).sum()

    return eager


WORKLOAD = Workload(
    title="Black-Scholes greeks",
    loss=loss,
    by_hand=by_hand,
    inputs=inputs,
    argnums=(0, 2, 3, 4),
    sizes=(
        Size("1e3", (1_000,), goal=26e-6, limit=24e-6),
        Size("1e6", (1_000_000,), goal=23e-3, limit=21e-3),
    ),
    implementations={"numba": numba_limit, "torch": torch_eager},
    missing={"casadi": NOT_FOR_CASADI},
)
