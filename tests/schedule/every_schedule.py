"""Random programs run with every schedule that there is, each forced in turn: all agree with the evaluator.

`python -m tests.schedule.every_schedule 5000` takes so many programs, in as many processes as there are
processors to use; the tests of CI take some dozens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.law_runs import run_laws
from tests.schedule.random_graphs import Program, check_same, random_program
from tracejit.codegen import work
from tracejit.compile import run_stages
from tracejit.config import Choices, Config
from tracejit.ir import evaluate

# Settings besides `Choices` that change how a program runs and not what it computes, each with the values
# that it is forced to. A new one joins here; a new field of `Choices` joins by itself.
SETTINGS: dict[str, tuple[Any, ...]] = {
    "fuse": (False,),
    "literal_limit": (0,),
    "threads": (1, 3),
    "tile": (0, 1, 5),
}


def every_schedule() -> dict[str, Config]:
    """By name: the schedule of the cost table, each setting and each choice forced, and all at once."""
    auto = Config(cache_dir=None)
    found = {"auto": auto}
    for name, values in SETTINGS.items():
        found |= {f"{name}={value}": replace(auto, **{name: value}) for value in values}
    words = {name: Choices.words(name)[1:] for name in Choices.names()}
    forced = [Choices(**{name: word}) for name, options in words.items() for word in options]
    longest = max(map(len, words.values()))
    del words["fuse"]  # nothing else is chosen where nothing is fused
    forced += [Choices(**{name: o[k % len(o)] for name, o in words.items()}) for k in range(longest)]
    return found | {str(choices): replace(auto, choices=choices) for choices in forced}


def program_of(seed: int, gradient: bool, steps: int = 20) -> Program | None:
    rng = np.random.default_rng(seed)
    return random_program(lambda n: int(rng.integers(n)), gradient=gradient, steps=steps)


def small_work() -> Any:
    """While it is open, arrays of a few elements are worth threads, tiles and short sums."""
    few = {"LEAST_TILE": 1, "ROUND_TILE": 1, "LEAD_SHARE": 1, "LEAST_STRAND": 1}
    return patch.multiple(work, STRAND_NS=20, BLOCK_ELEMENTS=16, **few)


def check_schedules(program: Program | None, configs: Sequence[Config]) -> bool:
    """Every schedule gives what the evaluator gives, and writes into no argument; False: not compared."""
    if program is None or not program.is_tame:
        return False
    before = [a.copy() for a in program.arrays]
    expected = evaluate(program.graph, program.arrays)
    for config in configs:
        is_cut = config.threads or config.tile or {config.choices.tile, config.choices.threads} != {"auto"}
        with small_work() if is_cut else nullcontext():
            executable = run_stages(program.graph, config=config).executable
        check_same(program, executable(program.arrays), expected)
    for array, copy in zip(program.arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    return True


def check_seed(seed: int) -> bool:
    """Half of the programs are gradients."""
    configs = tuple(every_schedule().values())
    return check_schedules(program_of(seed, gradient=seed % 2 == 1, steps=12), configs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check random programs; returns 1 if any differs."""
    print(f"{len(every_schedule())} schedules of each")
    return run_laws("tests.schedule.every_schedule", __doc__, check_seed, 5000, arguments)


if __name__ == "__main__":
    sys.exit(main())
