"""Training on a device: data, parameters and gradients stay there, and a step is a few launches.

Logistic regression with momentum on CuPy's arrays. Without a device the same program runs at toy size on
NumPy's arrays, with the kernels run by the emulator (`target="cuda-emu"`). A loop of plain NumPy must
end at the same parameters.
"""

import numpy as np

import tracejit as tj

try:
    import cupy as xp

    xp.zeros(1)
    TARGET = "cuda"
except Exception as error:  # CuPy's own errors, where it is installed and finds no driver or device
    print(f"no device: {error}\nThe kernels are emulated, at toy size.")
    xp, TARGET = np, "cuda-emu"

ROWS, FEATURES, STEPS = (200_000, 32, 200) if TARGET == "cuda" else (40, 3, 12)
RATE, MOMENTUM, PENALTY = 0.5, 0.9, 1e-3


def loss(params, x, y):
    w, b = params
    z = x @ w + b
    return np.mean(np.logaddexp(0, z) - y * z) + 0.5 * PENALTY * np.sum(w**2)


step = tj.grad_jit(loss, target=TARGET)


def by_hand(params, x, y):
    w, b = params
    error = 1 / (1 + np.exp(-(x @ w + b))) - y
    return error @ x / len(y) + PENALTY * w, error.mean()


def train(gradients, x, y, zeros):
    """The parameters after all steps, from zeros; nothing leaves the device on the way."""
    w, b = zeros(FEATURES), zeros(())
    speed_w, speed_b = zeros(FEATURES), zeros(())
    for _ in range(STEPS):
        dw, db = gradients((w, b), x, y)
        speed_w, speed_b = MOMENTUM * speed_w - RATE * dw, MOMENTUM * speed_b - RATE * db
        w, b = w + speed_w, b + speed_b
    return w, b


def main():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES))
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-(x @ rng.normal(size=FEATURES) - 0.5)))) * 1.0
    there_x, there_y = xp.asarray(x), xp.asarray(y)  # copied once

    w, b = train(step.grad, there_x, there_y, xp.zeros)
    found = step.value((w, b), there_x, there_y)
    w, b, found = (a if xp is np else xp.asnumpy(a) for a in (w, b, found))
    expected_w, expected_b = train(by_hand, x, y, np.zeros)
    print(f"loss after {STEPS} steps on {TARGET}: {float(found):.6f}, from {np.log(2):.6f}")
    np.testing.assert_allclose(w, expected_w, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(b, expected_b, rtol=1e-8, atol=1e-10)
    assert float(found) < np.log(2)
    launches = tj.inspect(step)((xp.zeros(FEATURES), xp.zeros(())), there_x, there_y)
    print(
        f"a step is {launches.source.count(' threads')} launches and {launches.library_calls} library calls"
    )
    print("ok: both loops end at the same parameters")


if __name__ == "__main__":
    main()
