"""Factorisations and solves as functions around calls of BLAS and LAPACK, which are found by their symbols.

Both count columns first: a row-major matrix is to them its transpose, so what is lower here is upper there
and nothing is copied to be turned. `function_text` prints the function of a `RoutineCall` with what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tracejit.codegen.llvm.text import Place, Text, Word
from tracejit.codegen.routines import RoutineCall

BLAS_PREFIX, LAPACK_PREFIX = "tracejit_blas_", "tracejit_lapack_"
_REALS = {np.dtype(np.float64): ("double", "d", "f64"), np.dtype(np.float32): ("float", "s", "f32")}

# What the wrapper of a library routine takes: c a letter, i a word (an int there), s a number, p a pointer;
# o stands for the routine's own report, which the wrapper returns as a word.
_SIGNATURES = {
    "gemm": (BLAS_PREFIX, "cciiis" + "pi" + "pi" + "s" + "pi"),
    "symm": (BLAS_PREFIX, "cciis" + "pi" + "pi" + "s" + "pi"),
    "trsm": (BLAS_PREFIX, "cccciis" + "pi" + "pi"),
    "trsv": (BLAS_PREFIX, "ccci" + "pi" + "pi"),
    "swap": (BLAS_PREFIX, "i" + "pi" + "pi"),
    "potrf": (LAPACK_PREFIX, "ci" + "pi" + "o"),
    "getrf": (LAPACK_PREFIX, "ii" + "pi" + "p" + "o"),
}

Declare = Callable[[str, str], None]  # a symbol and its signature

# Up to this size a triangle is done by scalar code: a call of BLAS costs as much as its work there.
LEAF = 8
# Columns that one product updates in a triangle: what it computes beyond the diagonal is lost.
PANEL = 64


@dataclass(frozen=True)
class Reals:
    """The dtype that a function is printed for: LLVM's type, the library's letter, the name's end."""

    kind: str
    letter: str
    short: str

    def text(self, result: str, name: str, *parameters: str) -> Text:
        return Text(self.kind, result, f"@{name}.{self.short}", *parameters)

    def call(self, f: Text, routine: str, *arguments: str) -> str:
        """Call the wrapper of a library routine; letters are given as such."""
        _, signature = _SIGNATURES[routine]
        kinds = {"c": "i8", "i": "i64", "s": self.kind, "p": "ptr"}
        values = [str(ord(a)) if k == "c" else a for k, a in zip(signature, arguments)]
        listed = ", ".join(f"{kinds[k]} {v}" for k, v in zip(signature, values))
        if signature.endswith("o"):
            return f.put(f"call i64 @call.{self.letter}{routine}({listed})")
        f.effect(f"call void @call.{self.letter}{routine}({listed})")
        return ""


def _wrapper(r: Reals, routine: str, declare: Declare) -> str:
    """A function that passes everything by reference, as Fortran has it."""
    prefix, signature = _SIGNATURES[routine]
    symbol = f"{prefix}{r.letter}{routine}"
    declare(symbol, f"void @{symbol}({', '.join(['ptr'] * len(signature))})")
    kinds = {"c": "i8", "i": "i64", "s": r.kind, "p": "ptr"}
    reports = signature.endswith("o")
    parameters = [f"{kinds[k]} %a{n}" for n, k in enumerate(signature) if k != "o"]
    result = "i64" if reports else "void"
    lines = [f"define internal {result} @call.{r.letter}{routine}({', '.join(parameters)}) noinline {{"]
    places: list[str] = []
    for n, k in enumerate(signature):
        stored = {"c": "i8", "i": "i32", "o": "i32", "s": r.kind}.get(k)
        places.append(f"ptr %p{n}" if stored else f"ptr %a{n}")
        if stored:
            lines.append(f"  %p{n} = alloca {stored}, align 8")
        if k == "i":
            lines.append(f"  %n{n} = trunc i64 %a{n} to i32")
        if k != "p":
            value = {"i": f"%n{n}", "o": "0"}.get(k, f"%a{n}")
            lines.append(f"  store {stored} {value}, ptr %p{n}, align 8")
    lines.append(f"  call void @{symbol}({', '.join(places)})")
    if reports:
        last = len(signature) - 1
        lines += [f"  %r = load i32, ptr %p{last}, align 8", "  %w = sext i32 %r to i64", "  ret i64 %w"]
    else:
        lines.append("  ret void")
    return "\n".join([*lines, "}"])


# --- Cholesky ----------------------------------------------------------------------------------------------


def _take_lower(f: Text, out: Place, source: Place, n: Word) -> None:
    """Rows of a lower triangle to another place, unless they are there, and zeros above."""
    with f.loop("0", n) as i:
        row = f.word_op("mul", i, n)
        count = f.word_op("add", i, 1)
        with f.when(f.put(f"icmp ne ptr {out}, {source}")):
            f.copy(f.at(out, row), f.at(source, row), count)
        _clear_above(f, out, i, n)


def _clear_above(f: Text, matrix: Place, i: Word, n: Word) -> None:
    """Zeros behind the diagonal in row i."""
    right = f.word_op("add", i, 1)
    f.clear(f.element(matrix, i, right, n), f.word_op("sub", n, right))


def _cholesky(r: Reals, flags: Sequence[bool]) -> list[str]:
    f = r.text("i64", "cholesky.one", "ptr %out", "ptr %a", "i64 %n", "i64 %k")
    _take_lower(f, "%out", "%a", "%n")
    failed = r.call(f, "potrf", "U", "%n", "%out", "%n")
    return [f.finish(f"i64 {failed}")]


def _adjoint_leaf(r: Reals) -> str:
    """The factorisation row by row, backwards: row j of `g` becomes row j of M, what it says of rows above is
    taken off them."""
    f = r.text("void", "cholesky.adjoint.leaf", "ptr %l", "ptr %g", "i64 %n", "i64 %ld")
    last = f.word_op("sub", "%n", 1)
    with f.loop("0", "%n") as back:
        j = f.word_op("sub", last, back)
        l_row, g_row = (f.at(base, f.word_op("mul", j, "%ld")) for base in ("%l", "%g"))
        corner = f.at(g_row, j)
        m = f.real_op("fdiv", f.load(corner), f.load(f.at(l_row, j)))
        f.store(m, corner)
        before = f.word_op("sub", j, 1)
        with f.loop("0", j) as back_k:
            k = f.word_op("sub", before, back_k)
            place = f.at(g_row, k)
            rest = f.real_op("fsub", f.load(place), f.real_op("fmul", m, f.load(f.at(l_row, k))))
            f.store(rest, place)
            with f.loop(f.word_op("add", k, 1), j) as i:
                above = f.real_op("fmul", f.load(f.at(g_row, i)), f.load(f.element("%l", i, k, "%ld")))
                f.store(f.real_op("fsub", f.load(place), above), place)
            f.store(f.real_op("fdiv", f.load(place), f.load(f.element("%l", k, k, "%ld"))), place)
        with f.loop("0", j) as i:
            x = f.load(f.at(g_row, i))
            with f.loop("0", f.word_op("add", i, 1)) as k:
                place = f.element("%g", i, k, "%ld")
                product = f.real_op("fmul", x, f.load(f.at(l_row, k)))
                f.store(f.real_op("fsub", f.load(place), product), place)
    return f.finish()


def _adjoint_blocks(r: Reals) -> str:
    """M in the place of the cotangent `g`, lower triangles, by halves.

    With L = [L1 0; B L2]: A2's part of M first, M2; then the cotangent G of B becomes (G - M2 B) L1^-1, which
    is B's part of M, and L1's cotangent loses the lower triangle of that part, transposed, times B.
    """
    name = "cholesky.adjoint.blocks"
    f = r.text("void", name, "ptr %l", "ptr %g", "i64 %n", "i64 %ld")
    with f.leaving_when(f.put(f"icmp sle i64 %n, {LEAF}")):
        f.effect(f"call void @cholesky.adjoint.leaf.{r.short}(ptr %l, ptr %g, i64 %n, i64 %ld)")
    halves = f.word_op("sdiv", f.word_op("add", "%n", 2 * LEAF - 1), 2 * LEAF)
    n1 = f.word_op("mul", halves, LEAF)
    n2 = f.word_op("sub", "%n", n1)
    below = f.word_op("mul", n1, "%ld")
    b, g = f.at("%l", below), f.at("%g", below)
    l2, g2 = f.at(b, n1), f.at(g, n1)
    f.effect(f"call void @{name}.{r.short}(ptr {l2}, ptr {g2}, i64 {n2}, i64 %ld)")
    minus, one = "-1.0", "1.0"
    r.call(f, "symm", "R", "U", n1, n2, minus, g2, "%ld", b, "%ld", one, g, "%ld")
    r.call(f, "trsm", "L", "U", "N", "N", n1, n2, one, "%l", "%ld", g, "%ld")
    with f.loop("0", n1, PANEL) as j:
        rest = f.word_op("sub", n1, j)
        is_short = f.put(f"icmp slt i64 {rest}, {PANEL}")
        width = f.put(f"select i1 {is_short}, i64 {rest}, i64 {PANEL}")
        target = f.element("%g", j, j, "%ld")
        left, right = f.at(b, j), f.at(g, j)
        r.call(f, "gemm", "N", "T", width, rest, n2, minus, left, "%ld", right, "%ld", one, target, "%ld")
    f.effect(f"call void @{name}.{r.short}(ptr %l, ptr %g, i64 {n1}, i64 %ld)")
    return f.finish()


def _cholesky_adjoint(r: Reals, flags: Sequence[bool]) -> list[str]:
    f = r.text("i64", "cholesky_adjoint.one", "ptr %out", "ptr %l", "ptr %ct", "i64 %n", "i64 %k")
    with f.when(f.put("icmp ne ptr %out, %ct")):
        f.copy("%out", "%ct", f.word_op("mul", "%n", "%n"))
    f.effect(f"call void @cholesky.adjoint.blocks.{r.short}(ptr %l, ptr %out, i64 %n, i64 %n)")
    with f.loop("0", "%n") as i:
        place = f.element("%out", i, i, "%n")
        f.store(f.real_op("fmul", f.load(place), "0.5"), place)
        _clear_above(f, "%out", i, "%n")
    return [_adjoint_leaf(r), _adjoint_blocks(r), f.finish("i64 0")]


# --- triangular systems ------------------------------------------------------------------------------------


def _triangular_solve(r: Reals, flags: Sequence[bool]) -> list[str]:
    lower, transpose, unit = flags
    f = r.text("i64", "triangular_solve.one", "ptr %out", "ptr %a", "ptr %b", "i64 %n", "i64 %k")
    with f.when(f.put("icmp ne ptr %out, %b")):
        f.copy("%out", "%b", f.word_op("mul", "%n", "%k"))
    if not unit:
        with f.loop("0", "%n") as i:
            element = f.load(f.element("%a", i, i, "%n"))
            with f.leaving_when(f.put(f"fcmp oeq {r.kind} {element}, 0.0"), "i64 1"):
                pass
    side, diagonal = "U" if lower else "L", "U" if unit else "N"
    with f.leaving_when(f.put("icmp eq i64 %k, 1"), "i64 0"):
        r.call(f, "trsv", side, "N" if transpose else "T", diagonal, "%n", "%a", "%n", "%out", "1")
    turn = "T" if transpose else "N"
    r.call(f, "trsm", "R", side, turn, diagonal, "%k", "%n", "1.0", "%a", "%n", "%out", "%k")
    return [f.finish("i64 0")]


# --- LU ----------------------------------------------------------------------------------------------------
#
# LAPACK factors the transpose, A^T = P L U, where P exchanges rows 1, 2, ... with those that it reports.


def _exchange(f: Text, r: Reals, rows: Place, out: Place, i: Word) -> None:
    """Exchange row i of `out`, k elements, with the one that the factorisation exchanged it with."""
    other = f.put(f"load i32, ptr {f.put(f'getelementptr i32, ptr {rows}, i64 {i}')}, align 4")
    j = f.word_op("sub", f.put(f"sext i32 {other} to i64"), 1)
    places = [f.at(out, f.word_op("mul", row, "%k")) for row in (i, j)]
    with f.when(f.put(f"icmp ne i64 {i}, {j}")):
        r.call(f, "swap", "%k", places[0], "1", places[1], "1")


def _lu(r: Reals, flags: Sequence[bool]) -> list[str]:
    f = r.text("i64", "lu.one", "ptr %out", "ptr %a", "i64 %n", "i64 %k")
    size = f.word_op("mul", "%n", "%n")
    f.copy("%out", "%a", size)
    rows = f.at("%out", size)
    f.clear(rows, f.word_op("mul", "%n", 2))
    failed = r.call(f, "getrf", "%n", "%n", "%out", "%n", rows)
    odd = f.word(0)
    with f.loop("0", "%n") as i:
        other = f.put(f"load i32, ptr {f.put(f'getelementptr i32, ptr {rows}, i64 {i}')}, align 4")
        moved = f.put(f"icmp ne i64 {f.put(f'sext i32 {other} to i64')}, {f.word_op('add', i, 1)}")
        f.set_word(odd, f.word_op("xor", f.get_word(odd), f.put(f"zext i1 {moved} to i64")))
    is_odd = f.put(f"icmp ne i64 {f.get_word(odd)}, 0")
    f.store(f.put(f"select i1 {is_odd}, {r.kind} -1.0, {r.kind} 1.0"), f.at(rows, "%n"))
    return [f.finish(f"i64 {failed}")]


def _lu_solve(r: Reals, flags: Sequence[bool]) -> list[str]:
    """As rows: A X = B is X^T = B^T U^-1 L^-1 P^T, and A^T X = B is X^T = (P^T B)^T L^-T U^-T."""
    (transpose,) = flags
    f = r.text("i64", "lu_solve.one", "ptr %out", "ptr %factors", "ptr %b", "i64 %n", "i64 %k")
    with f.when(f.put("icmp ne ptr %out, %b")):
        f.copy("%out", "%b", f.word_op("mul", "%n", "%k"))
    rows = f.at("%factors", f.word_op("mul", "%n", "%n"))
    if transpose:
        with f.loop("0", "%n") as i:
            _exchange(f, r, rows, "%out", i)
    sides = [("L", "U"), ("U", "N")] if transpose else [("U", "N"), ("L", "U")]
    for side, diagonal in sides:
        turn = "T" if transpose else "N"
        r.call(f, "trsm", "R", side, turn, diagonal, "%k", "%n", "1.0", "%factors", "%n", "%out", "%k")
    if not transpose:
        last = f.word_op("sub", "%n", 1)
        with f.loop("0", "%n") as back:
            _exchange(f, r, rows, "%out", f.word_op("sub", last, back))
    return [f.finish("i64 0")]


def _log_abs_det(r: Reals, flags: Sequence[bool]) -> list[str]:
    f = r.text("i64", "log_abs_det.one", "ptr %out", "ptr %factors", "i64 %n", "i64 %k")
    total = f.word(0)
    with f.loop("0", "%n") as i:
        x = f.load(f.element("%factors", i, i, "%n"))
        wide = x if r.kind == "double" else f.put(f"fpext float {x} to double")
        magnitude = f.put(f"call double @llvm.fabs.f64(double {wide})")
        logarithm = f.put(f"call double @llvm.log.f64(double {magnitude})")
        now = f.put(f"load double, ptr {total}, align 8")
        f.effect(f"store double {f.put(f'fadd double {now}, {logarithm}')}, ptr {total}, align 8")
    found = f.put(f"load double, ptr {total}, align 8")
    f.store(found if r.kind == "double" else f.put(f"fptrunc double {found} to float"), "%out")
    return [f.finish("i64 0")]


# --- the functions of a call -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Routine:
    """How one matrix is done, and how far apart the arrays of a batch lie.

    text: the functions for some dtype and flags, of which `NAME.one` takes the result, the operands and two
        sizes, and returns whether it failed
    steps: for the result and each operand its rows and columns for one matrix: the sizes n and k, or r for
        n + 2
    """

    text: Callable[[Reals, Sequence[bool]], list[str]]
    uses: tuple[str, ...]
    steps: tuple[str, ...]


_ROUTINES = {
    "cholesky": _Routine(_cholesky, ("potrf",), ("nn", "nn")),
    "cholesky_adjoint": _Routine(_cholesky_adjoint, ("gemm", "symm", "trsm"), ("nn", "nn", "nn")),
    "log_abs_det": _Routine(_log_abs_det, (), ("1", "rn")),
    "lu": _Routine(_lu, ("getrf",), ("rn", "nn")),
    "lu_solve": _Routine(_lu_solve, ("swap", "trsm"), ("nk", "rn", "nk")),
    "triangular_solve": _Routine(_triangular_solve, ("trsm", "trsv"), ("nk", "nn", "nk")),
}


def function_name(call: RoutineCall) -> str:
    """The function of all matrices of a batch; calls that differ in sizes only share it."""
    flags = "".join(str(int(flag)) for flag in call.flags)
    return ".".join([call.name, *([flags] if flags else []), _REALS[call.dtype][2]])


def function_texts(calls: Sequence[RoutineCall], declare: Declare, report: Callable[[], str]) -> list[str]:
    """The functions that `function_name` names, each once, with what they call; symbols go to `declare`.

    report: names the function that is called with the status word and the number of a call that failed
    """
    found: dict[str, None] = {}
    for call in calls:
        r, routine = Reals(*_REALS[call.dtype]), _ROUTINES[call.name]
        found.update(dict.fromkeys(_wrapper(r, used, declare) for used in routine.uses))
        suffix = function_name(call).removeprefix(call.name)
        for text in routine.text(r, call.flags):
            found[text.replace(f"@{call.name}.one.{r.short}", f"@{call.name}.one{suffix}")] = None
        found[_batch(call, r, routine, suffix, report)] = None
    if found:
        for name, rest in (("memcpy.p0.p0", "ptr, ptr"), ("memset.p0", "ptr, i8")):
            declare(f"llvm.{name}.i64", f"void @llvm.{name}.i64({rest}, i64, i1)")
        for name in ("fabs", "log"):
            declare(f"llvm.{name}.f64", f"double @llvm.{name}.f64(double)")
    return list(found)


def _batch(call: RoutineCall, r: Reals, routine: _Routine, suffix: str, report: Callable[[], str]) -> str:
    """Matrix after matrix; a failure leaves the number of the call in the status word."""
    arrays = [f"%x{k}" for k in range(len(routine.steps))]
    status = ["ptr %status", "i64 %number"] if call.failure is not None else []
    sizes = ["i64 %batches", "i64 %n", "i64 %k"]
    f = Text(r.kind, "void", f"@{function_name(call)}", *[f"ptr {x}" for x in arrays], *sizes, *status)
    steps = [_step(f, step) for step in routine.steps]
    with f.loop("0", "%batches") as i:
        places = [f.at(x, f.word_op("mul", i, step)) for x, step in zip(arrays, steps)]
        listed = ", ".join([*[f"ptr {p}" for p in places], "i64 %n", "i64 %k"])
        failed = f.put(f"call i64 @{call.name}.one{suffix}({listed})")
        if call.failure is not None:
            with f.when(f.put(f"icmp ne i64 {failed}, 0")):
                f.effect(f"call void @{report()}(ptr %status, i64 %number)")
    return f.finish()


def _step(f: Text, step: str) -> Word:
    if step == "1":
        return "1"
    rows = f.word_op("add", "%n", 2) if step[0] == "r" else "%n"
    return f.word_op("mul", rows, f"%{step[1]}")
