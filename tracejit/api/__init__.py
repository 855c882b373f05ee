"""The public transformations: a function enters, one that traces, compiles and runs it leaves."""

from tracejit.api.functions import Transformed
from tracejit.api.lowering import Lowered
from tracejit.api.products import jvp, vjp
from tracejit.api.public import grad, grad_jit, jit, value_and_grad
from tracejit.api.scanning import scan
from tracejit.api.stopping import stop_gradient
from tracejit.api.while_loops import while_loop

__all__ = [
    "Lowered",
    "Transformed",
    "grad",
    "grad_jit",
    "jit",
    "jvp",
    "scan",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "while_loop",
]
