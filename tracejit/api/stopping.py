"""`stop_gradient`: values that derivatives take for constants."""

from __future__ import annotations

from typing import Any

from tracejit.frontend import Tracer
from tracejit.frontend.dispatch import apply
from tracejit.ops import special
from tracejit.pytree import map_leaves


def stop_gradient(x: Any) -> Any:
    """`x`, an array or any nesting of them, as a constant of every derivative.

    Outside a traced function it gives back what it is given.

    >>> tj.grad(lambda x: x * tj.stop_gradient(x))(3.0)
    np.float64(3.0)
    """

    def stop(leaf: Any) -> Any:
        if not isinstance(leaf, Tracer):
            return leaf
        return apply(Tracer, special.stop_gradient, "stop_gradient", (leaf,), {}, leaf._is_scalar)

    return map_leaves(stop, x)
