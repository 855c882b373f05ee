"""The public transformations: each makes a `Transformed` from a function and what the user asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from tracejit.api.functions import Donate, Options, Transformed, base_of
from tracejit.api.lowering import GradOptions
from tracejit.api.programs import shared_programs
from tracejit.api.signature import normalize_argnums


def _shared(function: Callable[..., Any], options: Options) -> Transformed:
    base, chain = base_of(function)
    return Transformed(function, options, shared_programs(base, (*chain, options)))


# --- the public functions -----------------------------------------------------------------------------------


@overload
def jit(
    f: Callable[..., Any],
    *,
    fuse: bool = ...,
    threads: int | None = ...,
    target: str = ...,
    static_argnames: str | Sequence[str] = ...,
    donate: Donate = ...,
    deterministic: bool = ...,
) -> Transformed: ...
@overload
def jit(
    f: None = None,
    *,
    fuse: bool = ...,
    threads: int | None = ...,
    target: str = ...,
    static_argnames: str | Sequence[str] = ...,
    donate: Donate = ...,
    deterministic: bool = ...,
) -> Callable[[Callable[..., Any]], Transformed]: ...
def jit(
    f: Callable[..., Any] | None = None,
    *,
    fuse: bool = True,
    threads: int | None = None,
    target: str = "cpu",
    static_argnames: str | Sequence[str] = (),
    donate: Donate = (),
    deterministic: bool = True,
) -> Any:
    """Compile a function of arrays and numbers in any nesting: traced once a signature, then run fused.

    f: the function, in plain NumPy; may be left out to decorate with options
    fuse: False runs one kernel an equation
    threads: that one call may use; None: as many as `get_threads()` says. Large arrays are worked on in parts
        that depend on their sizes alone, so results are the same bits for any number of threads
    target: where it runs: "cpu"; "cuda", on the device that holds the arguments (CuPy, torch, Numba, JAX, or
        NumPy's, which are copied there and back), with results that stay there; or "cuda-emu", which steps
        the threads of the same kernels on this processor, to be tested without a device
    static_argnames: parameters whose values are part of the program (settings, sizes); hashable
    donate: parameters, by name or position, whose arrays are used up: a result of equal shape and dtype may
        be written over one, and is then that array itself; where this cannot be, results are fresh as ever
    deterministic: False lets a device add floats at places that are data (the gradient of `table[index]`) in
        any order, by atomic instructions: faster for large tables, with last bits that differ from call to
        call. On a processor it changes nothing

    Calls take `out=`, arrays nested like the results, which are written there and returned; unless the
    function has a parameter of that name or `**kwargs`. Raises ArgumentError for arrays of another shape or
    dtype, and for memory that an argument or another result is in.

    >>> @tj.jit
    ... def normalize(x):
    ...     return (x - x.mean()) / x.std()
    >>> normalize(np.array([1.0, 3.0]))
    array([-1.,  1.])
    """
    names, donated = _names(static_argnames), _several(donate)
    options = Options("jit", None, fuse, target, names, donated, threads, deterministic=deterministic)
    return Transformed(f, options) if f is not None else lambda function: Transformed(function, options)


def grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    fuse: bool = True,
    threads: int | None = None,
    target: str = "cpu",
    static_argnames: str | Sequence[str] = (),
    donate: Donate = (),
    deterministic: bool = True,
) -> Transformed:
    """The gradient of a scalar function, as a function of the same arguments.

    argnums: the positional argument to differentiate by, or several
    has_aux: `f` returns `(value, aux)`; the result is then `(gradients, aux)`
    fuse, threads, target, static_argnames, donate, deterministic: as in `jit`; `out=` of a call takes arrays
        nested like the gradients
    Returns gradients nested like the argument (a tuple of them where `argnums` is a tuple).
    Raises ShapeError or DTypeError where the result is no float scalar, DTypeError for an integer argument.

    >>> tj.grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    >>> tj.grad(tj.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    options = _grad_options(
        "grad", argnums, has_aux, False, fuse, target, static_argnames, donate, threads, deterministic
    )
    return _shared(f, options)


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    fuse: bool = True,
    threads: int | None = None,
    target: str = "cpu",
    static_argnames: str | Sequence[str] = (),
    donate: Donate = (),
    deterministic: bool = True,
) -> Transformed:
    """The value and gradient of a scalar function: `(value, grads)`; with has_aux `((value, aux), grads)`.

    The arguments are those of `grad`.

    >>> tj.value_and_grad(lambda x, y: x * y, argnums=(0, 1))(2.0, 5.0)
    (np.float64(10.0), (np.float64(5.0), np.float64(2.0)))
    """
    options = _grad_options(
        "value_and_grad",
        argnums,
        has_aux,
        True,
        fuse,
        target,
        static_argnames,
        donate,
        threads,
        deterministic,
    )
    return _shared(f, options)


@overload
def grad_jit(
    f: Callable[..., Any],
    *,
    argnums: int | Sequence[int] = ...,
    has_aux: bool = ...,
    fuse: bool = ...,
    threads: int | None = ...,
    target: str = ...,
    static_argnames: str | Sequence[str] = ...,
    donate: Donate = ...,
    deterministic: bool = ...,
) -> Transformed: ...
@overload
def grad_jit(
    f: None = None,
    *,
    argnums: int | Sequence[int] = ...,
    has_aux: bool = ...,
    fuse: bool = ...,
    threads: int | None = ...,
    target: str = ...,
    static_argnames: str | Sequence[str] = ...,
    donate: Donate = ...,
    deterministic: bool = ...,
) -> Callable[[Callable[..., Any]], Transformed]: ...
def grad_jit(
    f: Callable[..., Any] | None = None,
    *,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    fuse: bool = True,
    threads: int | None = None,
    target: str = "cpu",
    static_argnames: str | Sequence[str] = (),
    donate: Donate = (),
    deterministic: bool = True,
) -> Any:
    """Compile the value and the gradient of a scalar function into fused kernels; usable as a decorator.

    The decorated function returns `(value, grads)`, `((value, aux), grads)` with has_aux; its `.value(...)`
    and `.grad(...)` give one alone. `grads` is nested like the argument that `argnums` selects (a tuple for
    several). Arrays that the function uses without taking them as arguments are read at each call. Inside the
    user's own `@njit` code it is called in the same way.

    f: the function, in plain NumPy; may be left out to decorate with options
    argnums, has_aux: as in `grad`
    fuse, threads, target, static_argnames, donate, deterministic: as in `jit`; `out=` of a call takes arrays
        nested like `grads`

    >>> @tj.grad_jit(argnums=(0, 1))
    ... def loss(w, b, x):
    ...     return ((x @ w + b) ** 2).mean()
    >>> value, (dw, db) = loss(np.ones(2), 0.5, np.ones((4, 2)))
    >>> value, dw, db
    (np.float64(6.25), array([5., 5.]), np.float64(5.0))
    """
    options = _grad_options(
        "grad_jit", argnums, has_aux, True, fuse, target, static_argnames, donate, threads, deterministic
    )
    return Transformed(f, options) if f is not None else lambda function: Transformed(function, options)


def _grad_options(
    api: str,
    argnums: int | Sequence[int],
    has_aux: bool,
    with_value: bool,
    fuse: bool,
    target: str,
    static_argnames: str | Sequence[str],
    donate: Donate,
    threads: int | None,
    deterministic: bool,
) -> Options:
    numbers = normalize_argnums(argnums)
    given = numbers if isinstance(argnums, (tuple, list)) else numbers[0]
    grad_options = GradOptions(api, given, has_aux, with_value)
    names, donated = _names(static_argnames), _several(donate)
    return Options(api, grad_options, fuse, target, names, donated, threads, deterministic=deterministic)


def _several(donate: Donate) -> tuple[str | int, ...]:
    return (donate,) if isinstance(donate, (str, int)) else tuple(donate)


def _names(static_argnames: str | Sequence[str]) -> tuple[str, ...]:
    return (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
