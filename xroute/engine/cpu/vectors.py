"""Eight float64 at once: a type that kernels hold in variables, and what they do with it.

The compiler makes of it what the machine has: one register, or two or four narrower ones. Each of the eight lanes sees the same
operations in the same order on any machine, so bits do not depend on how wide its registers are. Rows are rows of arrays
[row, column] with columns contiguous, of float64 or float32; float32 is widened when it is read, and rounded when it is written.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel.models import PrimitiveModel, StructModel
from numba.core.types import StarArgTuple, UniTuple  # type: ignore[attr-defined]
from numba.extending import intrinsic, register_model

__all__ = [
    "LANES", "add8", "all_finite", "ask", "bare", "div8", "entry", "fma8", "is_finite8", "last8", "load8", "load_some8",
    "look8", "mul8", "shift8", "splat8", "store8", "store_some8", "sum8", "transpose8", "turn8", "where8", "zero8",
]  # fmt: skip

LANES = 8
_DOUBLE = ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, LANES)
_I32 = ir.IntType(32)


class _Eight(types.Type):
    """Numba's type of eight float64."""

    def __init__(self) -> None:
        super().__init__(name="float64x8")


@register_model(_Eight)
class _EightModel(PrimitiveModel):
    """An LLVM vector, wherever it is held."""

    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _VECTOR)


_EIGHT = _Eight()


class _Seen(types.Type):
    """Numba's type of what is known of values of a type: whether all were finite."""

    def __init__(self, dtype) -> None:
        self.dtype = dtype
        super().__init__(name=f"seen({dtype})")


@register_model(_Seen)
class _SeenModel(PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, ir.VectorType(_element(kind), LANES))


class _Bare(types.Type):
    """Numba's type of where an array lies: nobody counts who refers to it, which would cost more than the arithmetic."""

    def __init__(self, dtype, ndim) -> None:
        self.dtype, self.ndim = dtype, ndim
        super().__init__(name=f"bare({dtype}, {ndim})")


@register_model(_Bare)
class _BareModel(StructModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, [("data", types.voidptr), ("stride", types.intp)])


@intrinsic
def bare(typing_context, array):
    """Where a C-contiguous array of one or two dimensions lies; it must outlive what is done with this."""
    if not (isinstance(array, types.Array) and array.ndim <= 2 and array.layout == "C"):
        return None
    kind = _Bare(array.dtype, array.ndim)

    def generate(context, builder, signature, arguments):
        struct = context.make_array(signature.args[0])(context, builder, arguments[0])
        made = cgutils.create_struct_proxy(kind)(context, builder)
        made.data = builder.bitcast(struct.data, ir.IntType(8).as_pointer())
        made.stride = cgutils.unpack_tuple(builder, struct.strides, array.ndim)[0]
        return made._getvalue()

    return kind(array), generate


@intrinsic
def entry(typing_context, array, *index):
    """An entry of an array that is `bare`; no index is negative."""
    if not (isinstance(array, _Bare) and len(index) == array.ndim):
        return None

    def generate(context, builder, signature, arguments):
        indices = cgutils.unpack_tuple(builder, arguments[1], array.ndim)
        if array.ndim == 1:
            indices = [ir.Constant(indices[0].type, 0), *indices]
        value = context.get_data_type(array.dtype)
        return builder.load(_address(context, builder, array, arguments[0], indices), typ=value)

    return array.dtype(array, StarArgTuple(index)), generate


@intrinsic
def ask(typing_context, array, row, column):
    """Ask for the cache line of ``array[row, column]``, of one that is `bare`; no effect on any result."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, array, arguments[0], arguments[1:])
        kind = ir.FunctionType(ir.VoidType(), [address.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [address, _I32(0), _I32(2), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def splat8(typing_context, value):
    """Eight times the value."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return _EIGHT(types.float64), generate


@intrinsic
def zero8(typing_context):
    """Eight zeros."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(_VECTOR, [0.0] * LANES)

    return _EIGHT(), generate


@intrinsic
def fma8(typing_context, a, b, c):
    """``a * b + c``, rounded once."""

    def generate(context, builder, signature, arguments):
        return _fma(builder, *arguments)

    return _EIGHT(_EIGHT, _EIGHT, _EIGHT), generate


@intrinsic
def mul8(typing_context, a, b):
    """``a * b``."""

    def generate(context, builder, signature, arguments):
        return builder.fmul(*arguments)

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def add8(typing_context, a, b):
    """``a + b``."""

    def generate(context, builder, signature, arguments):
        return builder.fadd(*arguments)

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def div8(typing_context, a, b):
    """``a / b``."""

    def generate(context, builder, signature, arguments):
        return builder.fdiv(*arguments)

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def where8(typing_context, condition, a, b):
    """``a`` in lanes in which the condition is not zero, ``b`` in the others."""

    def generate(context, builder, signature, arguments):
        return builder.select(builder.fcmp_unordered("!=", arguments[0], ir.Constant(_VECTOR, [0.0] * LANES)), *arguments[1:])

    return _EIGHT(_EIGHT, _EIGHT, _EIGHT), generate


@intrinsic
def all_finite(typing_context, array):
    """What `look8` begins with, for values of the type of an array."""

    def generate(context, builder, signature, arguments):
        return ir.Constant(ir.VectorType(_element(array), LANES), [0.0] * LANES)

    return _Seen(array.dtype)(array), generate


@intrinsic
def look8(typing_context, value, seen):
    """Look whether eight values are finite as those of an array of that type; `is_finite8` says what was seen."""

    def generate(context, builder, signature, arguments):
        value, seen = arguments
        value = value if seen.type.element == _DOUBLE else builder.fptrunc(value, seen.type)
        # 0 times a value is NaN if that is not finite, and what is NaN once is so for good
        return _fma(builder, value, ir.Constant(value.type, [0.0] * LANES), seen)

    return seen(_EIGHT, seen), generate


@intrinsic
def is_finite8(typing_context, seen):
    """Whether all values were finite that `look8` has seen."""

    def generate(context, builder, signature, arguments):
        known = builder.fcmp_ordered("ord", arguments[0], arguments[0])
        return builder.icmp_signed("==", builder.bitcast(known, ir.IntType(LANES)), ir.IntType(LANES)(2**LANES - 1))

    return types.boolean(seen), generate


@intrinsic
def sum8(typing_context, a):
    """The sum of the eight, in pairs."""

    def generate(context, builder, signature, arguments):
        terms = [builder.extract_element(arguments[0], _I32(k)) for k in range(LANES)]
        while len(terms) > 1:
            terms = [builder.fadd(a, b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        return terms[0]

    return types.float64(_EIGHT), generate


@intrinsic
def load8(typing_context, array, row, column):
    """``array[row, column : column + 8]``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:])
        vector = ir.VectorType(element, LANES)
        value = builder.load(builder.bitcast(address, vector.as_pointer()), align=_size(element), typ=vector)
        return value if element == _DOUBLE else builder.fpext(value, _VECTOR)

    return _EIGHT(array, types.int64, types.int64), generate


@intrinsic
def store8(typing_context, array, row, column, value):
    """``array[row, column : column + 8] = value``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:3])
        vector = ir.VectorType(element, LANES)
        value = arguments[3] if element == _DOUBLE else builder.fptrunc(arguments[3], vector)
        builder.store(value, builder.bitcast(address, vector.as_pointer()), align=_size(element))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, _EIGHT), generate


@intrinsic
def load_some8(typing_context, array, row, column, count):
    """``array[row, column : column + count]``, and zeros; nothing beyond is read. At least one, at most eight."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:3])
        vector = ir.VectorType(element, LANES)
        none, align = ir.Constant(vector, [0.0] * LANES), _I32(_size(element))
        value = _masked(builder, "load", vector, address, align, _among(builder, arguments[3]), none)
        return value if element == _DOUBLE else builder.fpext(value, _VECTOR)

    return _EIGHT(array, types.int64, types.int64, types.int64), generate


@intrinsic
def store_some8(typing_context, array, row, column, value, count):
    """``array[row, column : column + count] = value[:count]``."""
    if not _has_rows(array):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(signature.args[0])
        address = _address(context, builder, signature.args[0], arguments[0], arguments[1:3])
        vector = ir.VectorType(element, LANES)
        value = arguments[3] if element == _DOUBLE else builder.fptrunc(arguments[3], vector)
        align, mask = _I32(_size(element)), _among(builder, arguments[4])
        _masked(builder, "store", ir.VoidType(), value, address, align, mask)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, _EIGHT, types.int64), generate


@intrinsic
def shift8(typing_context, before, now):
    """The last of the eight before, and seven of those now: each one's predecessor."""

    def generate(context, builder, signature, arguments):
        return _shuffle(builder, arguments[0], arguments[1], list(range(LANES - 1, 2 * LANES - 1)))

    return _EIGHT(_EIGHT, _EIGHT), generate


@intrinsic
def last8(typing_context, a):
    """The last of the eight."""

    def generate(context, builder, signature, arguments):
        return builder.extract_element(arguments[0], _I32(LANES - 1))

    return types.float64(_EIGHT), generate


@intrinsic
def transpose8(typing_context, a, b, c, d, e, f, g, h):
    """Rows of a square of eight by eight, made of its columns, or the other way round."""

    def generate(context, builder, signature, arguments):
        return context.make_tuple(builder, signature.return_type, _transposed(builder, arguments))

    return UniTuple(_EIGHT, LANES)(*(_EIGHT,) * LANES), generate


@intrinsic
def turn8(typing_context, source, row, column, target):
    """``target[column + k, row + l] = source[row + l, column + k]`` for eight k and l: a move in the arrays' own type."""
    if not (_has_rows(source) and _has_rows(target) and source.dtype == target.dtype):
        return None

    def generate(context, builder, signature, arguments):
        element = _element(source)
        vector, size = ir.VectorType(element, LANES), _size(element)

        def place(kind, array, first, second, k):
            address = _address(context, builder, kind, array, (builder.add(first, first.type(k)), second))
            return builder.bitcast(address, vector.as_pointer())

        read, at, along, written = arguments
        rows = [builder.load(place(source, read, at, along, k), align=size, typ=vector) for k in range(LANES)]
        for k, turned in enumerate(_transposed(builder, rows)):
            builder.store(turned, place(target, written, along, at, k), align=size)
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, target), generate


def _has_rows(array):
    return (
        isinstance(array, _Bare)
        and array.ndim == 2
        or isinstance(array, types.Array)
        and array.ndim == 2
        and array.layout == "C"
        and array.dtype in (types.float64, types.float32)
    )


def _element(kind):
    return _DOUBLE if kind.dtype == types.float64 else ir.FloatType()


def _size(element):
    return 8 if element == _DOUBLE else 4


def _transposed(builder, rows):
    """Columns of a square of eight rows, whatever they are of."""
    rows = list(rows)
    for width in (4, 2, 1):  # squares of this width change places across the diagonal of squares twice as wide
        first = [lane if not lane & width else LANES + lane - width for lane in range(LANES)]
        second = [lane + width if not lane & width else LANES + lane for lane in range(LANES)]
        for k in range(LANES):
            if not k & width:
                upper, lower = rows[k], rows[k + width]
                rows[k] = _shuffle(builder, upper, lower, first)
                rows[k + width] = _shuffle(builder, upper, lower, second)
    return rows


def _splat(builder, value):
    none = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    return _shuffle(builder, builder.insert_element(none, value, _I32(0)), none, [0] * LANES)


def _shuffle(builder, a, b, lanes):
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, LANES), lanes))


def _fma(builder, a, b, c):
    name = f"llvm.fma.v{LANES}f{64 if a.type.element == _DOUBLE else 32}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(a.type, [a.type] * 3), name)
    return builder.call(function, (a, b, c))


def _among(builder, count):
    """Which lanes are among the first ``count``."""
    lanes = ir.Constant(ir.VectorType(count.type, LANES), list(range(LANES)))
    return builder.icmp_signed("<", lanes, _splat(builder, count))


def _masked(builder, what, result, *arguments):
    """Load or store the lanes that a mask names; where a machine has no such instruction, LLVM takes lane by lane."""
    vector = arguments[0].type if what == "store" else result
    name = f"llvm.masked.{what}.v{LANES}f{64 if vector.element == _DOUBLE else 32}.p0"
    function = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def _address(context, builder, kind, array, indices):
    """Address of an entry, in bytes."""
    row, column = indices
    if isinstance(kind, _Bare):
        bare = cgutils.create_struct_proxy(kind)(context, builder, value=array)
        address, row_stride = bare.data, bare.stride
    else:
        struct = context.make_array(kind)(context, builder, array)
        row_stride, _ = cgutils.unpack_tuple(builder, struct.strides, kind.ndim)
        address = builder.bitcast(struct.data, ir.IntType(8).as_pointer())
    address = builder.gep(address, [builder.mul(row, row_stride)])
    return builder.gep(address, [builder.mul(column, column.type(kind.dtype.bitwidth // 8))])
