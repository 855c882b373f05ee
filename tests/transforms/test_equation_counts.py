"""The size of nested derivatives stays bounded: a rule that emits more than it needs shows here first."""

from __future__ import annotations

from benchmarks.equation_counts import equation_counts

# Equations of the gradient, and of the gradients of that, of the loss of a network of two layers.
BOUNDS = ((26, 21, 21), (49, 44, 42), (101, 92, 84))


def test_derivatives_of_a_network_stay_small() -> None:
    counts = equation_counts()
    for count, bounds in zip(counts, BOUNDS, strict=True):
        sizes = (count.derived, count.simplified, count.optimized)
        assert all(size <= bound for size, bound in zip(sizes, bounds, strict=True)), counts


def test_simplification_between_derivatives_is_not_what_bounds_the_end() -> None:
    between, at_the_end = equation_counts(), equation_counts(between=False)
    for one, other in zip(between, at_the_end, strict=True):
        # Which of two sums gets a product that both could be fused with depends on the order they come in.
        assert abs(one.optimized - other.optimized) <= 1
        assert one.derived <= other.derived
