"""SIMD intrinsics for numba: registers of sixteen numbers.

The order of every sum is explicit and every fused multiply-add rounds once. So the bits are the same on every machine,
whatever the width of its registers. Where registers are shorter, the compiler uses several; without the instruction it
calls a function that rounds the same.

They are also faster. Left to itself, numba keeps sums in memory that fit into registers, and uses half of the width of
AVX-512. See docs/decisions/0012-vector-registers.md.
"""

# ruff: noqa: ARG001 - numba calls an intrinsic, and its code generator, with a fixed signature.
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from marquee.models.numba_cache import numba

cgutils, types, models = numba.core.cgutils, numba.core.types, numba.core.datamodel.models
# Any: numba turns it into a function that compiled code can call.
intrinsic: Any = numba.extending.intrinsic

LANES = 16
"""Numbers in one register. Widths and offsets are multiples of it."""

_LANE = ir.IntType(32)
_SHUFFLE_MASK = ir.VectorType(_LANE, LANES)
_INDEX = ir.IntType(64)


class _Register(types.Type):
    """numba type of a register's content; ``number`` is float32 or float64."""

    def __init__(self, number: Any) -> None:
        self.number = number
        super().__init__(f"Register({number})")


@numba.extending.register_model(_Register)
class _RegisterModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.VectorType(manager[kind.number].get_value_type(), LANES))


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Load sixteen numbers of a flat array, from ``index`` on. Needs no alignment."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_array_register(context, builder, signature.args[0], *arguments), align=4)

    return _Register(array.dtype)(array, types.intp), emit


@intrinsic
def load_scalar(typing: Any, array: Any, index: Any) -> Any:
    """Load the number at ``index`` of a flat array. Unlike ``array[index]``, negative indexes are not supported."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.intp), emit


@intrinsic
def store(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Store a register in a flat array, from ``index`` on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, value = arguments
        builder.store(value, _array_register(context, builder, signature.args[0], array, index), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


@intrinsic
def broadcast(typing: Any, number: Any) -> Any:
    """Return a register with ``number`` in every lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _broadcast(builder, arguments[0])

    return _Register(number)(number), emit


def _binary(emit: Callable[[Any, Any, Any], Any]) -> Any:
    def operation(typing: Any, x: Any, y: Any) -> Any:
        return x(x, y), lambda _, builder, __, arguments: emit(builder, *arguments)

    return intrinsic(operation)


def _ternary(emit: Callable[[Any, Any, Any, Any], Any]) -> Any:
    def operation(typing: Any, x: Any, y: Any, z: Any) -> Any:
        return x(x, y, z), lambda _, builder, __, arguments: emit(builder, *arguments)

    return intrinsic(operation)


multiply = _binary(lambda builder, x, y: builder.fmul(x, y))
"""``multiply(x, y)`` returns x * y."""
add = _binary(lambda builder, x, y: builder.fadd(x, y))
"""``add(x, y)`` returns x + y."""
fused_multiply_add = _ternary(lambda builder, z, x, y: _call_llvm(builder, "fma", x, y, z))
"""``fused_multiply_add(z, x, y)`` returns z + x * y, rounded once."""
fused_negate_multiply_add = _ternary(lambda builder, z, x, y: _call_llvm(builder, "fma", builder.fneg(x), y, z))
"""``fused_negate_multiply_add(z, x, y)`` returns z - x * y, rounded once."""


@intrinsic
def reciprocal_sqrt(typing: Any, x: Any) -> Any:
    """Return 1 / sqrt(x)."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        root = _call_llvm(builder, "sqrt", *arguments)
        return builder.fdiv(ir.Constant(root.type, [1.0] * LANES), root)

    return x(x), emit


@intrinsic
def insert_last(typing: Any, x: Any, number: Any) -> Any:
    """Return ``x`` with ``number`` in the last lane."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.insert_element(*arguments, ir.Constant(_LANE, LANES - 1))

    return x(x, number), emit


@numba.extending.register_jitable
def aligned_zeros(numbers: int) -> NDArray[np.float32]:
    """Return a flat float32 array of zeros that starts at a cache line.

    A register's load then touches one cache line instead of two.
    """
    buffer = np.zeros(numbers + LANES, np.float32)
    first = (-buffer.ctypes.data // 4) % LANES
    return buffer[first : first + numbers]


@intrinsic
def horizontal_sum(typing: Any, x: Any) -> Any:
    """Return the sum of the lanes, added pairwise: halves to halves."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (value,) = arguments
        half = LANES // 2
        while half:
            mask = ir.Constant(_SHUFFLE_MASK, [(k + half) % LANES for k in range(LANES)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, mask))
            half //= 2
        return builder.extract_element(value, ir.Constant(_LANE, 0))

    return x.number(x), emit


@intrinsic
def add_block_product(typing: Any, width: Any, x: Any, y: Any, count: Any, out: Any) -> Any:
    """Add the sum over k < ``count`` of x[k, :16]^T y[k, :16] to ``out`` [16, 16], which stays in registers.

    ``x``, ``y`` and ``out`` are pairs (flat array, offset). The length of the tuple ``width`` is the distance between
    their rows.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        left, right, target = (_pointer(context, builder, kinds[k], arguments[k]) for k in (1, 2, 4))
        offsets = [ir.Constant(_INDEX, row * len(width)) for row in range(LANES)]
        pointers = [_register_pointer(builder, target, offset) for offset in offsets]
        sums = [cgutils.alloca_once_value(builder, builder.load(pointer, align=4)) for pointer in pointers]
        with cgutils.for_range(builder, arguments[3]) as loop:
            first = builder.mul(loop.index, ir.Constant(_INDEX, len(width)))
            vector = builder.load(_register_pointer(builder, right, first), align=4)
            for row, partial in enumerate(sums):
                number = builder.load(builder.gep(left, [builder.add(first, ir.Constant(_INDEX, row))]))
                updated = _call_llvm(builder, "fma", _broadcast(builder, number), vector, builder.load(partial))
                builder.store(updated, partial)
        for pointer, partial in zip(pointers, sums, strict=True):
            builder.store(builder.load(partial), pointer, align=4)
        return context.get_dummy_value()

    return types.void(width, x, y, types.intp, out), emit


def _pointer(context: Any, builder: Any, kind: Any, pair: Any) -> Any:
    """Return a pointer to the number at the offset of a pair (flat array, offset)."""
    array, offset = cgutils.unpack_tuple(builder, pair, 2)
    return builder.gep(context.make_array(kind.types[0])(context, builder, array).data, [offset])


def _register_pointer(builder: Any, pointer: Any, index: Any) -> Any:
    """Return a pointer to the register that starts ``index`` numbers after ``pointer``."""
    vector = ir.VectorType(pointer.type.pointee, LANES)
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _array_register(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Return a pointer to the register that starts at ``index`` of a flat array."""
    return _register_pointer(builder, context.make_array(kind)(context, builder, array).data, index)


def _broadcast(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(ir.VectorType(number.type, LANES), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_LANE, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_SHUFFLE_MASK, [0] * LANES))


def _call_llvm(builder: Any, name: str, *arguments: Any) -> Any:
    """Call the LLVM intrinsic ``name`` on registers of one type."""
    vector = arguments[0].type
    kind = ir.FunctionType(vector, [vector] * len(arguments))
    size = "f64" if isinstance(vector.element, ir.DoubleType) else "f32"
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}{size}")
    return builder.call(function, arguments)
