"""Two machine instructions that numba does not offer by name: a fused multiply-add, and a cache prefetch.

The fused multiply-add rounds once, the same way in a vector loop and in its remainder, so that results cannot depend on
where a series is cut; leaving the contraction to the compiler would not promise that.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["fma", "prefetch"]


@intrinsic
def fma(typing_context, a, b, c):
    """Return ``a * b + c`` in float64 with one rounding."""

    def generate(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@intrinsic
def prefetch(typing_context, array, row, column):
    """Ask for the cache line of ``array[row, column]``; no effect on any result."""
    if not (isinstance(array, types.Array) and array.ndim == 2):
        return None

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        struct = context.make_array(kind)(context, builder, arguments[0])
        strides = cgutils.unpack_tuple(builder, struct.strides, 2)
        byte = ir.IntType(8).as_pointer()
        offset = builder.add(builder.mul(arguments[1], strides[0]), builder.mul(arguments[2], strides[1]))
        address = builder.gep(builder.bitcast(struct.data, byte), [offset])
        i32 = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]), "llvm.prefetch.p0"
        )
        builder.call(function, [address, i32(0), i32(2), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate
