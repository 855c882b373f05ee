"""The PyTorch tutorial "Automatic differentiation with torch.autograd", written in NumPy.

One layer of a network, z = x @ w + b, and its binary cross-entropy with labels y. The gradients are checked
against the closed form dloss/dz = (sigmoid(z) - y) / len(z), and the graph is drawn as the tutorial draws
it.
"""

import numpy as np

import tracejit as tj


def loss(w, b, x, y):
    z = x @ w + b
    return tj.nn.binary_cross_entropy_with_logits(z, y)


def closed_form(w, b, x, y):
    """The value and the gradients for w and b, by hand."""
    z = x @ w + b
    value = np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
    dz = (1 / (1 + np.exp(-z)) - y) / z.size
    return value, (np.outer(x, dz), dz)


def main():
    rng = np.random.default_rng(0)
    x, y = np.ones(5), np.zeros(3)  # input and expected output
    w, b = rng.standard_normal((5, 3)), rng.standard_normal(3)

    step = tj.grad_jit(loss, argnums=(0, 1))
    value, (dw, db) = step(w, b, x, y)

    print(f"loss      {value:.6f}")
    print(f"dloss/dw  {np.array2string(dw, precision=4, prefix='dloss/dw  ')}")
    print(f"dloss/db  {np.array2string(db, precision=4)}")

    expected, (expected_dw, expected_db) = closed_form(w, b, x, y)
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(dw, expected_dw, rtol=1e-13)
    np.testing.assert_allclose(db, expected_db, rtol=1e-13)

    print("\nThe computational graph, as mermaid text:\n")
    print(tj.draw(step)(w, b, x, y))

    for _ in range(100):
        value, (dw, db) = step(w, b, x, y)
        w, b = w - 0.5 * dw, b - 0.5 * db
    print(f"\nloss after 100 steps of gradient descent: {value:.6f}")
    assert value < 0.05 * expected

    print("ok: value and gradients equal the closed form")


if __name__ == "__main__":
    main()
