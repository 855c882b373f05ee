"""Logistic regression on scikit-learn's breast-cancer data: gradient descent as a plain loop.

Two classes, 30 features, 569 patients. A quarter of them is held out; the fit must classify more than 95 %
right.
"""

import os

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import tracejit as tj

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
STEPS = 200 if FAST else 400
RATE = 0.5
PENALTY = 1e-3


@tj.grad_jit
def loss(params, x, y):
    z = x @ params["w"] + params["b"]
    likelihood = np.mean(np.logaddexp(0, z) - y * z)
    return likelihood + 0.5 * PENALTY * np.sum(params["w"] ** 2)


def accuracy(params, x, y):
    return np.mean((x @ params["w"] + params["b"] > 0) == y)


def load():
    """Train and test data, standardised with the means and deviations of the train data."""
    x, y = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    mean, deviation = train_x.mean(axis=0), train_x.std(axis=0)
    return (train_x - mean) / deviation, train_y, (test_x - mean) / deviation, test_y


def main():
    train_x, train_y, test_x, test_y = load()
    params = {"w": np.zeros(train_x.shape[1]), "b": 0.0}

    for step in range(STEPS):
        value, grads = loss(params, train_x, train_y)
        params = {name: params[name] - RATE * grads[name] for name in params}
        if step % (STEPS // 5) == 0:
            held_out = accuracy(params, test_x, test_y)
            print(f"step {step:4d}  loss {value:.4f}  held-out accuracy {held_out:.1%}")

    _, grads = loss(params, train_x, train_y)
    slope = max(np.abs(grads["w"]).max(), abs(grads["b"]))
    held_out = accuracy(params, test_x, test_y)
    print(f"step {STEPS:4d}  loss {value:.4f}  held-out accuracy {held_out:.1%}  largest slope {slope:.1e}")

    assert held_out > 0.95, held_out
    assert slope < 1e-2, slope
    print(f"ok: {held_out:.1%} of {len(test_y)} held-out patients are classified right")


if __name__ == "__main__":
    main()
