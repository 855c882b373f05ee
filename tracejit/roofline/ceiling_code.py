"""The code that measures what a machine can do, as LLVM text: reading, a triad, and multiply-adds.

`program(ip, fp)`: `ip` holds which of the three runs, three addresses of float64 arrays (or one of 64 numbers
to write to), their elements, and how often; `fp` a factor and a term.
"""

from __future__ import annotations

READ, TRIAD, FMA_F64, FMA_F32 = range(4)
UNROLLED = 8  # vectors of a trip: as many partial sums hide the latency of an addition


def ceiling_text(vector_bytes: int, registers: int) -> str:
    """The module for registers of so many bytes, of which the multiply-adds may use `registers`.

    >>> print(ceiling_text(32, 12).splitlines()[0])
    declare <4 x double> @llvm.fmuladd.v4f64(<4 x double>, <4 x double>, <4 x double>)
    """
    lanes = vector_bytes // 8
    f64, f32 = f"<{lanes} x double>", f"<{2 * lanes} x float>"
    return "\n".join(
        [
            f"declare {f64} @llvm.fmuladd.v{lanes}f64({f64}, {f64}, {f64})",
            f"declare {f32} @llvm.fmuladd.v{2 * lanes}f32({f32}, {f32}, {f32})",
            "define void @program(ptr %ip, ptr %fp) {",
            "entry:",
            *_loads(("which", "a", "b", "c", "n", "times")),
            *[f"  %{x}p = inttoptr i64 %{x} to ptr" for x in "abc"],
            "  %factor = load double, ptr %fp, align 8",
            "  %term.at = getelementptr double, ptr %fp, i64 1",
            "  %term = load double, ptr %term.at, align 8",
            *_splat("s", lanes, "double", "%factor"),
            f"  switch i64 %which, label %done [ i64 {READ}, label %read i64 {TRIAD}, label %triad "
            f"i64 {FMA_F64}, label %fma64 i64 {FMA_F32}, label %fma32 ]",
            *_passes("read", _read_body(f64, lanes), lanes, f64),
            *_passes("triad", _triad_body(f64, lanes), lanes),
            *_fma("fma64", f64, lanes, "double", registers),
            *_fma("fma32", f32, 2 * lanes, "float", registers),
            "done:",
            "  ret void",
            "}",
            "",
        ]
    )


def _loads(names: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for k, name in enumerate(names):
        lines.append(f"  %{name}.at = getelementptr i64, ptr %ip, i64 {k}")
        lines.append(f"  %{name} = load i64, ptr %{name}.at, align 8")
    return lines


def _splat(name: str, lanes: int, kind: str, value: str) -> list[str]:
    vector = f"<{lanes} x {kind}>"
    return [
        f"  %{name}.0 = insertelement {vector} poison, {kind} {value}, i64 0",
        f"  %{name} = shufflevector {vector} %{name}.0, {vector} poison, <{lanes} x i32> zeroinitializer",
    ]


def _passes(name: str, body: list[str], lanes: int, sums: str | None = None) -> list[str]:
    """`times` passes over `n` elements; with partial sums of type `sums`, which are written to `c`."""
    trip, again = f"{name}.trip", f"{name}.again"
    phis = [
        f"  %{name}.acc{k} = phi {sums} [ zeroinitializer, %{again} ], [ %{name}.sum{k}, %{trip} ]"
        for k in range(UNROLLED if sums else 0)
    ]
    results = [
        line
        for k in range(UNROLLED if sums else 0)
        for line in (
            f"  %{name}.out{k} = getelementptr {sums}, ptr %cp, i64 {k}",
            f"  store {sums} %{name}.sum{k}, ptr %{name}.out{k}, align 8",
        )
    ]
    return [
        f"{name}:",
        f"  br label %{again}",
        f"{again}:",
        f"  %{name}.t = phi i64 [ 0, %{name} ], [ %{name}.t1, %{name}.end ]",
        f"  br label %{trip}",
        f"{trip}:",
        f"  %{name}.i = phi i64 [ 0, %{again} ], [ %{name}.i1, %{trip} ]",
        *phis,
        *body,
        f"  %{name}.i1 = add nsw i64 %{name}.i, {UNROLLED * lanes}",
        f"  %{name}.more = icmp slt i64 %{name}.i1, %n",
        f"  br i1 %{name}.more, label %{trip}, label %{name}.end",
        f"{name}.end:",
        *results,
        f"  %{name}.t1 = add nsw i64 %{name}.t, 1",
        f"  %{name}.left = icmp slt i64 %{name}.t1, %times",
        f"  br i1 %{name}.left, label %{again}, label %done",
    ]


def _places(name: str, arrays: str, lanes: int, k: int) -> list[str]:
    return [
        f"  %{name}.at{k} = add nsw i64 %{name}.i, {k * lanes}",
        *[f"  %{name}.{x}{k} = getelementptr double, ptr %{x}p, i64 %{name}.at{k}" for x in arrays],
    ]


def _read_body(f64: str, lanes: int) -> list[str]:
    lines: list[str] = []
    for k in range(UNROLLED):
        lines += [
            *_places("read", "a", lanes, k),
            f"  %read.x{k} = load {f64}, ptr %read.a{k}, align {8 * lanes}",
            f"  %read.sum{k} = fadd {f64} %read.acc{k}, %read.x{k}",
        ]
    return lines


def _triad_body(f64: str, lanes: int) -> list[str]:
    lines: list[str] = []
    for k in range(UNROLLED):
        lines += [
            *_places("triad", "abc", lanes, k),
            f"  %triad.x{k} = load {f64}, ptr %triad.a{k}, align {8 * lanes}",
            f"  %triad.y{k} = load {f64}, ptr %triad.b{k}, align {8 * lanes}",
            f"  %triad.sy{k} = fmul {f64} %s, %triad.y{k}",
            f"  %triad.r{k} = fadd {f64} %triad.x{k}, %triad.sy{k}",
            f"  store {f64} %triad.r{k}, ptr %triad.c{k}, align {8 * lanes}",
        ]
    return lines


def _fma(name: str, vector: str, lanes: int, kind: str, registers: int) -> list[str]:
    """`times` trips of `registers` independent multiply-adds; the results are written to `c`."""
    number = (
        {"double": "%factor", "float": f"%{name}.f"}[kind],
        {"double": "%term", "float": f"%{name}.g"}[kind],
    )
    narrowed = [
        f"  %{name}.f = fptrunc double %factor to float",
        f"  %{name}.g = fptrunc double %term to float",
    ]
    symbol = f"llvm.fmuladd.v{lanes}f{64 if kind == 'double' else 32}"
    lines = [f"{name}:", *(narrowed if kind == "float" else [])]
    lines += [*_splat(f"{name}.m", lanes, kind, number[0]), *_splat(f"{name}.b", lanes, kind, number[1])]
    lines += [f"  br label %{name}.trip", f"{name}.trip:"]
    lines.append(f"  %{name}.t = phi i64 [ 0, %{name} ], [ %{name}.t1, %{name}.trip ]")
    for k in range(registers):
        lines.append(
            f"  %{name}.acc{k} = phi {vector} [ zeroinitializer, %{name} ], [ %{name}.r{k}, %{name}.trip ]"
        )
    for k in range(registers):
        operands = f"{vector} %{name}.acc{k}, {vector} %{name}.m, {vector} %{name}.b"
        lines.append(f"  %{name}.r{k} = call {vector} @{symbol}({operands})")
    lines += [
        f"  %{name}.t1 = add nsw i64 %{name}.t, 1",
        f"  %{name}.left = icmp slt i64 %{name}.t1, %times",
        f"  br i1 %{name}.left, label %{name}.trip, label %{name}.end",
        f"{name}.end:",
    ]
    for k in range(registers):
        lines.append(f"  %{name}.out{k} = getelementptr {vector}, ptr %cp, i64 {k}")
        lines.append(f"  store {vector} %{name}.r{k}, ptr %{name}.out{k}, align 8")
    return [*lines, "  br label %done"]
