"""The text of CUDA kernels, kept whole for a few programs, and what may not be in any of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.codegen.cuda.emulated import device_program, printed, traced
from tests.golden_programs import (
    chain,
    five_points,
    logistic_regression,
    oscillators,
    softmax_cross_entropy,
    tutorial,
)
from tracejit.codegen.cuda.launches import Launch

X = np.arange(6000.0).reshape(2000, 3)
LABELS = np.arange(3) % 2
ROWS = np.arange(9000) % 2000


def step(w: Any, b: Any) -> Any:
    return tutorial({"w": w, "b": b}, X[:, :2], X[:, 1:])


def logits(x: Any) -> Any:
    return softmax_cross_entropy(x, LABELS)


def embedding(table: Any) -> Any:
    return np.sum(np.tanh(table[ROWS]) ** 2)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "chain": (chain, (X[:, 0].copy(), 2.0, 3.0)),
    "softmax": (logits, (np.ones((3, 300)),)),
    "tutorial": (step, (np.ones((2, 2)), np.ones(2))),
    "logistic_regression": (logistic_regression, (np.ones(300), np.ones((50, 300)), np.ones(50))),
    "embedding": (embedding, (np.ones((2000, 40)),)),
    "stencil": (five_points, (np.ones((50, 60)),)),
    "oscillators": (oscillators, (np.ones(3000),) * 3),
}


def launches(name: str, dtype: str = "f8") -> list[Launch]:
    function, arguments = CASES[name]
    graph, arrays = traced(function, *[np.asarray(x, dtype) for x in arguments])
    return printed(device_program(graph), arrays)


@pytest.mark.parametrize("name", CASES)
def test_the_kernels_are_as_they_were(name: str, golden: Callable[[str, str], None]) -> None:
    found = launches(name)
    golden(f"cuda/{name}", "\n\n".join(f"# {x.blocks} blocks of {x.threads}\n{x.text}" for x in found))


@pytest.mark.parametrize("name", CASES)
def test_every_number_has_a_type(name: str) -> None:
    for launch in launches(name, "f4"):
        text = re.sub(r"#.*", "", launch.text)
        assert not re.search(r"(?<![(\w.])\d+\.\d", text)


def test_loads_stand_in_front_of_all_stores() -> None:
    (launch,) = launches("chain")
    loop = launch.text.partition("while ")[2].partition("while ")[0].splitlines()
    loads = [k for k, line in enumerate(loop) if re.search(r"= \w+\[", line)]
    stores = [k for k, line in enumerate(loop) if re.match(r"\s+\w+\[.*\] = ", line)]
    assert len(loads) == 4
    assert len(stores) == 4
    assert max(loads) < min(stores)


@pytest.mark.parametrize("name", ["chain", "tutorial"])
def test_a_step_with_its_sums_is_one_launch(name: str) -> None:
    assert len(launches(name)) == 1


def test_another_size_has_the_same_text() -> None:
    texts = []
    for n in (3000, 5000):
        graph, arrays = traced(chain, np.ones(n), 2.0, 3.0)
        texts += [x.text for x in printed(device_program(graph), arrays)]
    assert texts[0] == texts[1]
