"""How kernels are launched: at once, where one of the same types, sizes and constants has been launched before.

Triton looks at each argument of each launch for what a kernel may have to be compiled anew for, and asks the driver about each
pointer; both together take many times as long as the launch. Here a launch is known by all that Triton looks at, so that the
compiled kernel of the last one like it is taken, and pointers are handed over as numbers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from xroute.engine.gpu.arguments import Mode

__all__ = ["launch", "on_device"]

Tensor = torch.Tensor
SECTOR = 16
"""Bytes: pointers to multiples of so many are what Triton compiles another kernel for."""
MOST = 4096
"""Launches that are known; beyond, all are forgotten. Their kernels are not: Triton keeps these."""
PLAIN = frozenset((int, bool, float, Mode))
"""Types of arguments that are handed over as they are."""
_COMPILED: dict[tuple[Any, ...], tuple[Any, Any]] = {}


def launch(kernel: Any, grid: int, *arguments: Any, num_warps: int = 1, **options: Any) -> None:
    """Launch a kernel on the device of its tensors, where work goes to the current stream.

    Parameters
    ----------
    kernel
        A Triton kernel.
    grid
        Number of programs.
    arguments
        All of the kernel's, in its order, also constants: tensors, numbers, and named tuples of them. The first tensor among
        them says which device.
    num_warps, options
        How many warps a program has, and whatever else Triton is to compile with.
    """
    words: list[Any] = []
    kinds: list[Any] = [id(kernel), num_warps, *options.items()]
    bits = _describe(arguments, words, kinds)
    index = _device_of(arguments)
    if index < 0:  # interpreted
        kernel[(grid,)](*arguments, num_warps=num_warps, **options)
        return
    kinds.append(index if bits % SECTOR == 0 else (index, *_remainders(arguments)))
    known = tuple(kinds)
    found = _COMPILED.get(known)
    with on_device(index):
        if found is not None:
            found[0][grid, 1, 1](*words)
            return
        compiled = kernel[(grid,)](*arguments, num_warps=num_warps, **options)
        if compiled is None:  # interpreted, with a GPU at hand
            return
        if len(_COMPILED) >= MOST:
            _COMPILED.clear()
        _COMPILED[known] = compiled, kernel  # which keeps its id


def on_device(index: int) -> AbstractContextManager[Any]:
    """While it lasts, the GPU of this number is the one that work goes to; where it is that already, nothing is done."""
    return nullcontext() if index == torch.cuda.current_device() else torch.cuda.device(index)


def _describe(arguments: tuple[Any, ...], words: list[Any], kinds: list[Any]) -> int:
    """Add arguments to words as a compiled kernel takes them, and to kinds what Triton compiles for; all bits of the pointers."""
    bits = 0
    for argument in arguments:
        kind = type(argument)
        if kind is Tensor:
            pointer = argument.data_ptr()
            bits |= pointer
            words.append(pointer)
            kinds.append(argument.dtype)
        elif kind in PLAIN:
            words.append(argument)
            kinds.append(argument)
        elif isinstance(argument, tuple):
            inner: list[Any] = []
            bits |= _describe(argument, inner, kinds)
            words.append(tuple(inner))
        elif isinstance(argument, Tensor):  # a kind of tensor
            bits |= _describe((argument.as_subclass(Tensor),), words, kinds)
        else:
            words.append(argument)
            kinds.append(argument)
    return bits


def _remainders(arguments: tuple[Any, ...]) -> list[bool]:
    """Of each tensor, whether it begins at a sector."""
    found = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            found.append(argument.data_ptr() % SECTOR == 0)
        elif isinstance(argument, tuple):
            found += _remainders(argument)
    return found


def _device_of(arguments: tuple[Any, ...]) -> int:
    """Number of the GPU that the first tensor is on; -1 where it is on none."""
    for argument in arguments:
        if isinstance(argument, Tensor):
            return argument.get_device()
        if isinstance(argument, tuple):
            return _device_of(argument)
    return -1
