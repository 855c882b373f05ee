"""A two-layer network on scikit-learn's digits: mini-batches of changing size, Adam in plain NumPy.

The batch grows while the network learns, and the last batch of each epoch is smaller: sizes are data, so
none of that compiles again. More than 95 % of the held-out digits must be read right. The loss curve is
saved as a plot where Matplotlib is installed.
"""

import importlib.util
import os

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import tracejit as tj
from tracejit.pytree import map_leaves

FAST = os.environ.get("TRACEJIT_EXAMPLE_FAST") == "1"
EPOCHS = 12 if FAST else 30
HIDDEN = 48


def forward(params, x):
    hidden = np.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return hidden @ params["output"]["w"] + params["output"]["b"]


@tj.grad_jit
def loss(params, x, labels):
    """Softmax cross-entropy in plain NumPy."""
    logits = forward(params, x)
    largest = np.max(logits, axis=1, keepdims=True)
    log_total = np.log(np.sum(np.exp(logits - largest), axis=1)) + largest[:, 0]
    return np.mean(log_total - logits[np.arange(len(labels)), labels])


def initial_params(rng, sizes=(64, HIDDEN, 10)):
    layers = zip(("hidden", "output"), sizes[:-1], sizes[1:], strict=True)
    return {name: {"w": rng.standard_normal((n, k)) / np.sqrt(n), "b": np.zeros(k)} for name, n, k in layers}


class Adam:
    """Kingma and Ba (2015), on any nesting of dicts, lists and tuples of arrays."""

    def __init__(self, params, rate=5e-3, decay=(0.9, 0.999), epsilon=1e-8):
        self.rate, self.decay, self.epsilon, self.count = rate, decay, epsilon, 0
        self.mean = map_leaves(np.zeros_like, params)
        self.square = map_leaves(np.zeros_like, params)

    def step(self, params, grads):
        first, second = self.decay
        self.count += 1
        self.mean = map_leaves(lambda m, g: first * m + (1 - first) * g, self.mean, grads)
        self.square = map_leaves(lambda s, g: second * s + (1 - second) * g * g, self.square, grads)
        scale = self.rate * np.sqrt(1 - second**self.count) / (1 - first**self.count)
        return map_leaves(
            lambda p, m, s: p - scale * m / (np.sqrt(s) + self.epsilon), params, self.mean, self.square
        )


def batches(rng, x, labels, size):
    """Shuffled batches; the last one holds what is left."""
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], labels[chosen]


def plot(curve, path):
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: Matplotlib is not installed")
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.semilogy(curve, linewidth=0.8)
    axes.set(xlabel="mini-batch", ylabel="loss", title="Digits, 64-48-10, Adam")
    figure.savefig(path, dpi=120)
    print(f"the loss curve is in {path}")


def main():
    rng = np.random.default_rng(0)
    x, labels = load_digits(return_X_y=True)
    train_x, test_x, train_labels, test_labels = train_test_split(
        x / 16, labels, test_size=0.25, random_state=0, stratify=labels
    )
    params = initial_params(rng)
    optimiser = Adam(params)
    curve, sizes = [], set()
    for epoch in range(EPOCHS):
        size = 40 + 10 * (epoch // 2)
        for batch in batches(rng, train_x, train_labels, size):
            value, grads = loss(params, *batch)
            params = optimiser.step(params, grads)
            curve.append(value)
            sizes.add(len(batch[0]))
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1:2d}  batches of {size}  loss {np.mean(curve[-20:]):.4f}")

    held_out = np.mean(np.argmax(forward(params, test_x), axis=1) == test_labels)
    info = tj.cache_info()
    print(f"held-out accuracy {held_out:.1%}")
    print(f"{len(curve)} calls with batches of {len(sizes)} sizes: {info}")
    plot(curve, "mlp_digits.png")

    assert held_out > 0.95, held_out
    assert info.compiles + info.disk_hits == 1, info  # compiled now, or found on disk
    print(f"ok: {held_out:.1%} of {len(test_labels)} held-out digits are read right")


if __name__ == "__main__":
    main()
