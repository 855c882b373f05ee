"""`python -m benchmarks` measures and prints ratios; `--smoke` only checks counts, in under a minute."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one of the two modes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="check kernel, byte and compile counts; time nothing"
    )
    parser.add_argument("--out", type=Path, help="folder for results.json and results.txt")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of interleaved timing (default 7)")
    parser.add_argument("--only", default="", help="measure programs whose name contains this text")
    options = parser.parse_args(arguments)

    # Programs are compiled anew, so that compilations can be counted; one thread is compared with one thread.
    os.environ["TRACEJIT_CACHE_DIR"] = ""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if options.smoke:
        from benchmarks import smoke

        smoke.main()
        return 0
    measure(options.rounds, options.only, options.out)
    return 0


def measure(rounds: int, only: str, out: Path | None) -> None:
    """Time every program, print the table as it grows, and write it to `out`."""
    from benchmarks import costs
    from benchmarks.fused_vs_unfused import COMPARISONS, HEADER, compare, format_row

    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    say(HEADER)
    rows = []
    for program, sizes in COMPARISONS:
        if only.lower() in program.name.lower():
            rows.append(compare(program, sizes, rounds, round_seconds=0.2))
            say(format_row(rows[-1]))
    record: dict[str, Any] = {"machine": describe_machine(), "comparisons": [r.as_record() for r in rows]}
    if not only:
        record |= measure_costs(costs, say)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (out / "results.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure_costs(costs: Any, say: Any) -> dict[str, Any]:
    """Import, first calls and memory, each in fresh processes."""
    imports = costs.import_seconds()
    say(
        f"\nimport tracejit, after NumPy: {imports['import'] * 1e3:.0f} ms, "
        f"with every public name {imports['import_and_names'] * 1e3:.0f} ms"
    )
    firsts = costs.first_calls()
    for name, seconds in firsts.items():
        say(
            f"first call of {name}: {seconds['first_call']:.2f} s, "
            f"after {seconds['compiler_imports']:.2f} s for the compiler's imports and first use"
        )
    size = 10_000_000
    memory = costs.memory_added(size)
    if memory is not None:
        say(f"memory added by one call of the chain at 1e7: {memory / (8 * size):.2f} times its gradient")
    return {"import_seconds": imports, "first_calls": firsts, "memory_bytes_chain_1e7": memory}


def describe_machine() -> dict[str, Any]:
    """Versions and processor, without which a time means nothing."""
    import numba
    import numpy

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "numba": numba.__version__,
        "processor": platform.processor() or platform.machine(),
        "system": platform.system(),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
    }


if __name__ == "__main__":
    sys.exit(main())
