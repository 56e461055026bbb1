"""`xroute.engine.gpu.ptx` for Triton's interpreter, which knows no assembly: the same pieces in numpy, on memory of their own.

Shared memory begins as NaN, and copies are made when they are waited for, so that what is read too early is wrong. That lanes
wait for one another is not seen: the interpreter lets all lanes do a piece before any does the next.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import TensorHandle, interpreter_builder

__all__ = ["emulate"]


class _Machine:
    """Shared memory of a program, and the copies that are on their way."""

    def __init__(self) -> None:
        self.memory = np.zeros(0, np.uint32)
        self.groups: list[list[tuple[np.ndarray, np.ndarray]]] = [[]]


_machine = _Machine()


def _data(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.handle.data)


def _tensor(values: np.ndarray, dtype: Any) -> Any:
    block = tl.block_type(dtype, list(values.shape))
    return tl.tensor(TensorHandle(values, dtype), block)


def _aligned(*places: np.ndarray) -> None:
    """Vectors lie at multiples of 16 bytes."""
    assert all((place % 16 == 0).all() for place in places)


def _words(address: np.ndarray) -> np.ndarray:
    return _machine.memory[address // 4]


def _global(pointers: np.ndarray, there: np.ndarray, k: int) -> np.ndarray:
    """Word ``k`` behind each pointer, 0 where it must not be looked."""
    places = np.where(there, pointers + 4 * k, 0).astype(np.uint64)
    zeros = TensorHandle(np.zeros(places.shape, np.int32), tl.int32)
    mask = TensorHandle(np.ascontiguousarray(there), tl.int1)
    handle = TensorHandle(places, tl.pointer_type(tl.int32))
    return interpreter_builder.create_masked_load(handle, mask, zeros, None, None, False).data.view(np.uint32)


def _to_global(pointers: np.ndarray, there: np.ndarray, k: int, words: np.ndarray) -> None:
    places = np.where(there, pointers + 4 * k, 0).astype(np.uint64)
    value = TensorHandle(np.ascontiguousarray(words).view(np.int32), tl.int32)
    mask = TensorHandle(np.ascontiguousarray(there), tl.int1)
    interpreter_builder.create_masked_store(TensorHandle(places, tl.pointer_type(tl.int32)), value, mask, None, None)


def open_rows(lane: Any, size: Any) -> Any:
    _machine.memory = np.full(int(getattr(size, "value", size)) // 4, 0x7FC00000, np.uint32)
    _machine.groups = [[]]
    return _tensor(np.zeros_like(_data(lane)), tl.int32)


def copy_four(to: Any, source: Any) -> None:
    _copy(to, source, np.ones(_data(to).shape, bool))


def copy_four_or_zeros(to: Any, source: Any, n_bytes: Any) -> None:
    _copy(to, source, _data(n_bytes) == 16)


def _copy(to: Any, source: Any, there: np.ndarray) -> None:
    _aligned(_data(to), _data(source)[there])
    values = np.stack([_global(_data(source), there, k) for k in range(4)], axis=-1)
    _machine.groups[-1].append((_data(to), values))


def commit_copies(lane: Any) -> None:
    _machine.groups.append([])


def wait_copies(lane: Any, more: Any) -> None:
    keep = int(getattr(more, "value", more))
    while len(_machine.groups) - 1 > keep:
        for to, values in _machine.groups.pop(0):
            for k in range(4):
                _machine.memory[to // 4 + k] = values[..., k]


def wait_lanes(lane: Any) -> None:
    """There is nothing to wait for."""


def move_four(to: Any, source: Any) -> None:
    _aligned(_data(to), _data(source))
    for k in range(4):
        _machine.memory[_data(to) // 4 + k] = _words(_data(source) + 4 * k)


def clear_some(address: Any, n: Any) -> None:
    for k in range(3):
        here = _data(n) > k
        _machine.memory[(_data(address)[here] + 4 * k) // 4] = 0


def store_four(to: Any, source: Any) -> None:
    _store(to, source, np.ones(_data(to).shape, bool))


def store_four_or_not(to: Any, source: Any, there: Any) -> None:
    _store(to, source, _data(there) != 0)


def _store(to: Any, source: Any, there: np.ndarray) -> None:
    _aligned(_data(to)[there], _data(source))
    for k in range(4):
        _to_global(_data(to), there, k, _words(_data(source) + 4 * k))


def read_one(address: Any) -> Any:
    return _tensor(_words(_data(address)).view(np.float32), tl.float32)


def read_some(address: Any) -> Any:
    return tuple([_tensor(_words(_data(address) + 4 * k).view(np.float32), tl.float32) for k in range(4)])


def write_some(address: Any, *values: Any) -> None:
    for k, value in enumerate(values):
        _machine.memory[_data(address) // 4 + k] = _data(value).astype(np.float32).view(np.uint32)


def _read_four(address: Any) -> Any:
    _aligned(_data(address))
    return read_some(address)


def _write_four(address: Any, *values: Any) -> None:
    _aligned(_data(address))
    write_some(address, *values)


def peek_four(box: Any, there: Any) -> Any:
    wanted = _data(there) != 0
    _aligned(_data(box)[wanted])
    return tuple([_tensor(_global(_data(box), wanted, k).view(np.int32), tl.int32) for k in range(4)])


def post_four(box: Any, a: Any, b: Any, c: Any, d: Any, there: Any) -> None:
    _aligned(_data(box)[_data(there) != 0])
    for k, value in enumerate((a, b, c, d)):
        _to_global(_data(box), _data(there) != 0, k, _data(value).astype(np.float32).view(np.uint32))


def emulate(*modules: ModuleType) -> None:
    """Put these pieces in place of the real ones, wherever modules have them by name."""
    pieces = {
        piece.__name__: piece
        for piece in (
            open_rows, copy_four, copy_four_or_zeros, commit_copies, wait_copies, wait_lanes, move_four, clear_some, store_four,
            store_four_or_not, read_one, read_some, write_some, peek_four, post_four,
        )
    } | {"read_four": _read_four, "write_four": _write_four}  # fmt: skip
    for module in modules:
        for name, piece in pieces.items():
            if hasattr(module, name):
                setattr(module, name, piece)
