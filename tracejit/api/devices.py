"""Arguments on a device, for functions with a CUDA target: the key of a call, stand-ins to trace with."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from tracejit.api.signature import SCALAR_TYPES
from tracejit.errors import ArgumentError
from tracejit.ir import Elsewhere
from tracejit.pytree import flatten

TARGETS = ("cpu", "cuda", "cuda-emu")


def check_target(api: str, target: str, threads: int | None) -> None:
    """Raise ArgumentError for an unknown target, and for settings that have no meaning there."""
    if target not in TARGETS:
        raise ArgumentError(
            f"{api}: target={target!r} is none of {', '.join(map(repr, TARGETS))}",
            hint="leave target out for this processor",
        )
    if target != "cpu" and threads is not None:
        raise ArgumentError(
            f'{api}: threads={threads} is for target="cpu", got target="{target}"',
            hint="leave threads out: the threads of a device follow from the sizes of the arrays",
        )


def check_deterministic(api: str, deterministic: object) -> None:
    """Raise ArgumentError for what is neither True nor False."""
    if not isinstance(deterministic, bool):
        raise ArgumentError(
            f"{api}: deterministic={deterministic!r} is neither True nor False",
            hint="deterministic=False lets a device add floats in any order",
        )


# What a call is told by of its leaves, by their class: whatever decides which program runs, and how.
_looks: dict[type, Callable[[Any], Hashable]] = dict.fromkeys(SCALAR_TYPES, type)


def look_at(args: tuple[Any, ...], leaves: list[Any], key: list[Any]) -> bool:
    """Append the leaves of positional arguments, and what two calls must share to be served by one plan.

    False where a leaf is of a kind that no plan serves.
    """
    for x in args:
        look = _looks.get(type(x))
        if look is not None:
            leaves.append(x)
            key.append(look(x))
            continue
        inner, treedef = flatten(x)
        key.append(treedef)
        for leaf in inner:
            look = _looks.get(type(leaf)) or _look_of(type(leaf))
            if look is None:
                return False
            key.append(look(leaf))
        leaves += inner
    return True


def look_of_each(arrays: Sequence[Any]) -> Hashable:
    """What tells arrays apart, of each of them; of those that no plan serves, their class."""
    looks = [_looks.get(type(x)) or _look_of(type(x)) or type for x in arrays]
    return tuple(look(x) for look, x in zip(looks, arrays, strict=True))


def _look_of(cls: type) -> Callable[[Any], Hashable] | None:
    from tracejit.runtime.cuda.arrays import look_of

    look = look_of(cls)
    if look is not None:
        _looks[cls] = look
    return look


def forget_looks() -> None:
    """Forget what classes of arrays there are."""
    _looks.clear()
    _looks.update(dict.fromkeys(SCALAR_TYPES, type))


def stand_ins(leaves: Sequence[Any]) -> list[Any]:
    """The leaves, with NumPy arrays of the same types, which have no memory, for those on a device."""
    from tracejit.runtime.cuda.arrays import facts_of, stand_in

    facts = [facts_of(x) for x in leaves]
    return [x if f is None else stand_in(*f) for x, f in zip(leaves, facts, strict=True)]


def elsewhere(target: str) -> Elsewhere | None:
    """What knows the arrays on a device that a function with this target may capture."""
    if target != "cuda":
        return None
    from tracejit.runtime.cuda.captured import Arrays

    return Arrays()


def twin(x: Any) -> Any:
    """`runtime.cuda.arrays.twin`, which is loaded with the first array."""
    from tracejit.runtime.cuda import arrays

    return arrays.twin(x)
