"""Matrix products as calls of BLAS: the function around `dgemm` or `sgemm`, which is found by its symbol."""

from __future__ import annotations

import numpy as np

from tracejit.codegen.llvm.routines import BLAS_PREFIX
from tracejit.codegen.products import MatrixProduct

_KINDS = {np.dtype(np.float64): ("double", "f64", "dgemm"), np.dtype(np.float32): ("float", "f32", "sgemm")}

# BLAS reads columns first: it is given the product of the turned matrices, right before left.
_TEMPLATE = """\
@one.{short} = private constant {kind} 1.0
@zero.{short} = private constant {kind} 0.0
@turns.{short} = private constant [2 x i8] c"NT"
define internal void @matrix_product.{short}(ptr %out, ptr %a, ptr %b, i64 %turn_a, i64 %turn_b, \
i64 %m, i64 %n, i64 %k, i64 %lda, i64 %ldb, i64 %batches, i64 %next_a, i64 %next_b, \
double %scale, i1 %adds) noinline {{
entry:
  %sizes = alloca [5 x i32], align 8
  %pm = getelementptr i32, ptr %sizes, i64 0
  %pn = getelementptr i32, ptr %sizes, i64 1
  %pk = getelementptr i32, ptr %sizes, i64 2
  %pa = getelementptr i32, ptr %sizes, i64 3
  %pb = getelementptr i32, ptr %sizes, i64 4
  %m32 = trunc i64 %m to i32
  %n32 = trunc i64 %n to i32
  %k32 = trunc i64 %k to i32
  %lda32 = trunc i64 %lda to i32
  %ldb32 = trunc i64 %ldb to i32
  store i32 %m32, ptr %pm, align 4
  store i32 %n32, ptr %pn, align 4
  store i32 %k32, ptr %pk, align 4
  store i32 %lda32, ptr %pa, align 4
  store i32 %ldb32, ptr %pb, align 4
  %ta = getelementptr i8, ptr @turns.{short}, i64 %turn_a
  %tb = getelementptr i8, ptr @turns.{short}, i64 %turn_b
  %alpha = alloca {kind}, align 8
  {narrow}store {kind} {scale}, ptr %alpha, align 8
  %next_out = mul i64 %m, %n
  %beta = select i1 %adds, ptr @one.{short}, ptr @zero.{short}
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %i1, %body ]
  %o = phi ptr [ %out, %entry ], [ %o1, %body ]
  %x = phi ptr [ %a, %entry ], [ %x1, %body ]
  %y = phi ptr [ %b, %entry ], [ %y1, %body ]
  %more = icmp slt i64 %i, %batches
  br i1 %more, label %body, label %done
body:
  call void @{symbol}(ptr %tb, ptr %ta, ptr %pn, ptr %pm, ptr %pk, ptr %alpha, ptr %y, ptr %pb, \
ptr %x, ptr %pa, ptr %beta, ptr %o, ptr %pn)
  %i1 = add i64 %i, 1
  %o1 = getelementptr {kind}, ptr %o, i64 %next_out
  %x1 = getelementptr {kind}, ptr %x, i64 %next_a
  %y1 = getelementptr {kind}, ptr %y, i64 %next_b
  br label %head
done:
  ret void
}}"""


def function_name(product: MatrixProduct) -> str:
    return f"matrix_product.{_KINDS[product.out.dtype][1]}"


def declaration(product: MatrixProduct) -> tuple[str, str]:
    """The library's routine, and its signature."""
    symbol = BLAS_PREFIX + _KINDS[product.out.dtype][2]
    return symbol, f"void @{symbol}({', '.join(['ptr'] * 13)})"


def function_text(product: MatrixProduct) -> str:
    """The function that `function_name` names, with what it needs around it."""
    kind, short, routine = _KINDS[product.out.dtype]
    is_narrow = kind == "float"
    return _TEMPLATE.format(
        kind=kind,
        short=short,
        symbol=BLAS_PREFIX + routine,
        narrow="%narrow = fptrunc double %scale to float\n  " if is_narrow else "",
        scale="%narrow" if is_narrow else "%scale",
    )
