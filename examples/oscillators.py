"""Fitting many oscillators at once: gradients through 1000 steps of time, by one kernel there and one back.

Each pendulum has a stiffness and a damping of its own, which are found from where it is after its swing and
how fast it is there. `tj.scan` keeps the loop a loop: the state of a pendulum stays in registers, and what
the way back needs is stored on the way there.
"""

import os
import time

import numpy as np

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
COUNT, STEPS, ROUNDS = (40, 1000, 80) if FAST else (1000, 1000, 150)
DT = 0.002


def swing(stiffness, damping, angle, speed, steps):
    """Where the pendulums are after so many steps of a fourth-order Runge-Kutta method."""

    def slope(angle, speed):
        return speed, -stiffness * np.sin(angle) - damping * speed

    def step(state, _):
        angle, speed = state
        a1, s1 = slope(angle, speed)
        a2, s2 = slope(angle + DT / 2 * a1, speed + DT / 2 * s1)
        a3, s3 = slope(angle + DT / 2 * a2, speed + DT / 2 * s2)
        a4, s4 = slope(angle + DT * a3, speed + DT * s3)
        angle = angle + DT / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        speed = speed + DT / 6 * (s1 + 2 * s2 + 2 * s3 + s4)
        return (angle, speed), None

    return tj.scan(step, (angle, speed), length=steps)[0]


@tj.grad_jit
def loss(parameters, start, seen):
    stiffness, damping = np.exp(parameters["stiffness"]), np.exp(parameters["damping"])
    angle, speed = swing(stiffness, damping, start, np.zeros_like(start), STEPS)
    return ((angle - seen[0]) ** 2 + (speed - seen[1]) ** 2).sum() / 2


def by_differences(parameters, start, seen, name, k, h=1e-6):
    """The derivative of the loss by one parameter of one pendulum, in plain NumPy."""
    found = []
    for sign in (1, -1):
        moved = {key: x.copy() for key, x in parameters.items()}
        moved[name][k] += sign * h
        found.append(loss.value(moved, start, seen))
    return (found[0] - found[1]) / (2 * h)


def main():
    rng = np.random.default_rng(0)
    start = rng.uniform(0.5, 1.5, COUNT)
    truth = {
        "stiffness": np.log(rng.uniform(1.0, 3.0, COUNT)),
        "damping": np.log(rng.uniform(0.1, 0.5, COUNT)),
    }
    seen = np.stack(swing(*(np.exp(truth[k]) for k in truth), start, np.zeros(COUNT), STEPS))
    parameters = {"stiffness": np.full(COUNT, np.log(2.0)), "damping": np.full(COUNT, np.log(0.25))}

    value, slopes = loss(parameters, start, seen)
    for name in parameters:
        expected = by_differences(parameters, start, seen, name, 3)
        assert abs(slopes[name][3] - expected) < 1e-6 * max(1.0, abs(expected)), name
    text = str(tj.inspect(loss)(parameters, start, seen))
    assert text.count(f"{STEPS} steps of time") == 2, "one kernel there and one back"

    began = time.perf_counter()
    moments = {name: [np.zeros(COUNT), np.zeros(COUNT)] for name in parameters}
    for k in range(1, ROUNDS + 1):
        value, slopes = loss(parameters, start, seen)
        for name, slope in slopes.items():  # Adam
            first, second = moments[name]
            first += 0.2 * (slope - first)
            second += 0.01 * (slope * slope - second)
            step = first / (1 - 0.8**k) / (np.sqrt(second / (1 - 0.99**k)) + 1e-10)
            parameters[name] = parameters[name] - 0.05 * 0.98**k * step
        if k % 40 == 0:
            print(f"step {k:3d}  loss {value:.2e}")
    took = (time.perf_counter() - began) / ROUNDS
    error = max(np.median(np.abs(parameters[name] - truth[name])) for name in parameters)
    print(f"a gradient of {COUNT} pendulums over {STEPS} steps takes {1e3 * took:.1f} ms")
    assert error < 0.02, error
    print(f"ok: half of all logarithms are within {error:.1e} of those that made the data")


if __name__ == "__main__":
    main()
