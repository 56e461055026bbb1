"""A model's state as bytes, of a length that does not change, for couplers that keep checkpoints themselves.

They are a mark, the steps done, what the state must share with the run, the arrays, and a digest of all this. So bytes of another
river, of another version, or of half a file are refused.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.block_state import BlockState
from xroute.bmi.stepper import Stepper
from xroute.exceptions import StateError

__all__ = ["restore", "snapshot"]

MARK = b"xroute BMI 1\n"
_HEAD = struct.Struct("<qq")
_DIGEST = 16
_HASHED = ("network", "order of reaches", "length of windows")


def snapshot(stepper: Stepper, exchanged: list[NDArray[Any]]) -> bytes:
    """Bytes of what a river holds, of its time, and of the arrays that it exchanges with others."""
    key = _key(stepper, exchanged)
    arrays = [*stepper.state.arrays().values(), *exchanged]
    body = MARK + _HEAD.pack(stepper.n_done, len(key)) + key
    body += b"".join(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes() for array in arrays)
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


def restore(stepper: Stepper, exchanged: list[NDArray[Any]], data: bytes) -> None:
    """Put back what `snapshot` took, in place; after an error all is as it was.

    Raises
    ------
    StateError
        For bytes that are damaged, or of another river or run.
    """
    body, digest = data[:-_DIGEST], data[-_DIGEST:]
    if not body.startswith(MARK) or len(body) < len(MARK) + _HEAD.size:
        raise StateError("these bytes are no state of xroute's BMI, or of another version of it")
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        raise StateError(f"the {len(data)} bytes of the state are damaged, or not all there: they are not those that were made")
    n_done, length = _HEAD.unpack_from(body, len(MARK))
    at = len(MARK) + _HEAD.size
    its, mine = json.loads(body[at : at + length]), json.loads(_key(stepper, exchanged))
    differs = sorted(name for name in {**its, **mine} if its.get(name) != mine.get(name))
    if differs:
        told = [name if name in _HASHED else f"{name} ({its.get(name)!r}, and here {mine.get(name)!r})" for name in differs]
        raise StateError(f"the state is of another {', '.join(told)}: bytes serve a model of the same files only")
    at += length
    taken = []
    held = stepper.state.arrays()
    for array in (*held.values(), *exchanged):
        values = np.frombuffer(body, array.dtype.newbyteorder("<"), array.size, at).astype(array.dtype)
        taken.append(values.reshape(array.shape))
        at += array.nbytes
    stepper.state = BlockState.of_arrays(dict(zip(held, taken, strict=False)))
    stepper.n_done = n_done
    for array, values in zip(exchanged, taken[len(held) :], strict=True):
        array[:] = values


def _key(stepper: Stepper, exchanged: list[NDArray[Any]]) -> bytes:
    """What a state must share with the run, as text."""
    assert stepper.run.key is not None
    lags = hashlib.blake2b(digest_size=8)
    for own in stepper.run.n_lags.values():
        lags.update(np.ascontiguousarray(own, "<i8").tobytes())
    reaches = hashlib.blake2b(repr(stepper.network.ids.tolist()).encode(), digest_size=8).hexdigest()
    key = stepper.run.key.attrs() | {
        "units": stepper.run.units, "dtype": [array.dtype.name for array in exchanged],
        **dict(zip(_HASHED[1:], (reaches, lags.hexdigest()), strict=True)),
    }  # fmt: skip
    return json.dumps(key, sort_keys=True).encode()
