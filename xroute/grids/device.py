"""Sums over the cells of catchments in PyTorch: for arrays that lie on a GPU, and for tensors that gradients flow through.

A matrix of catchments by cells, sparse, and its transpose for the adjoint. Both are summed in float64, row by row: on the CPU
by the loops of `xroute.grids.kernels`, on a GPU by a sparse product. Nothing is added up atomically, so that two runs give the
same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.engine.arrays import compute_type
from xroute.engine.backends import on_host
from xroute.engine.cpu.walk import on_threads
from xroute.grids.kernels import STRICT, sum_cells
from xroute.options import n_threads

if TYPE_CHECKING:
    from xroute.grids.apply import Product, Steps

__all__ = ["Sums", "bring", "multiply_cupy", "multiply_tensor"]

Tensor = torch.Tensor

DENSE_BYTES = 2**29
"""Of cells in float64 that are multiplied in one go on a GPU."""


class Sums:
    """A sparse matrix: sums over columns, with weights, for each row.

    Parameters
    ----------
    pointer : int64 [row + 1]
        Where the entries of each row begin.
    column : int64 [entry]
        Their columns.
    weight : float64 [entry]
        And their weights.
    n_columns
        Number of columns.
    """

    def __init__(self, pointer: NDArray[Any], column: NDArray[Any], weight: NDArray[Any], n_columns: int) -> None:
        import scipy.sparse

        n = pointer.size - 1
        matrix = scipy.sparse.csr_matrix((np.array(weight), np.array(column), np.array(pointer)), shape=(n, n_columns))
        matrix.sum_duplicates()  # which sorts columns, too
        self._matrix = matrix
        self.shape = n, n_columns
        self._on: dict[torch.device, Tensor] = {}

    @cached_property
    def _loops(self) -> tuple[NDArray[Any], ...]:
        """Pointer, row, column, weight and divisor for the loops on the host, which every call takes."""
        pointer, column = (a.astype(np.int64) for a in (self._matrix.indptr, self._matrix.indices))
        return pointer, np.zeros_like(column), column, self._matrix.data, np.ones(self.shape[0])

    @cached_property
    def transposed(self) -> Sums:
        """The transpose, for the adjoint."""
        turned = self._matrix.T.tocsr()
        return Sums(turned.indptr, turned.indices, turned.data, self.shape[0])

    def on(self, device: torch.device) -> Tensor:
        """The matrix as a sparse tensor of a device, kept there."""
        if device not in self._on:
            m = self._matrix
            arrays = m.indptr.astype(np.int64), m.indices.astype(np.int64), np.array(m.data)
            pointer, column, weight = (torch.from_numpy(array).to(device) for array in arrays)
            with warnings.catch_warnings():  # of what is done here, a product by a dense matrix, nothing has changed for years
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state", category=UserWarning)
                self._on[device] = torch.sparse_csr_tensor(pointer, column, weight, size=self.shape)
        return self._on[device]

    def times(self, values: Tensor) -> Tensor:
        """Sums of values [batch, column, time] as [batch, row, time], of their type."""
        return self._on_the_host(values) if values.device.type == "cpu" else self.times_sparse(values)

    def _on_the_host(self, values: Tensor) -> Tensor:
        data = values.detach().to(values.dtype if values.dtype in (torch.float32, torch.float64) else torch.float32).numpy()
        out = np.empty((data.shape[0], self.shape[0], data.shape[2]), data.dtype)
        view = data.transpose(0, 2, 1)[:, :, None, :]
        view.flags.writeable = False
        pointer, row, column, weight, ones = self._loops
        threads = n_threads()
        edges = np.unique(np.linspace(0, self.shape[0], 4 * threads + 1).astype(np.int64))
        on_threads(
            lambda part: sum_cells(view, out.transpose(0, 2, 1), *part, pointer, row, column, weight, weight, 1.0, ones, STRICT),
            list(zip(edges[:-1], edges[1:], strict=True)), threads,
        )  # fmt: skip
        return torch.from_numpy(out).to(values.dtype)

    def times_sparse(self, values: Tensor) -> Tensor:
        """The same by a sparse product, on any device, as many steps at a time as there is place for."""
        out = values.new_empty((values.shape[0], self.shape[0], values.shape[2]))
        steps = max(1, DENSE_BYTES // max(1, 8 * max(self.shape)))
        for b in range(values.shape[0]):
            for t in range(0, values.shape[2], steps):
                out[b, :, t : t + steps] = torch.sparse.mm(self.on(values.device), values[b, :, t : t + steps].double())
        return out


class _Bring(torch.autograd.Function):
    """Values times a matrix; the adjoint is that of its transpose, which may be differentiated again."""

    @staticmethod
    def forward(context: Any, values: Tensor, sums: Sums) -> Tensor:
        context.sums = sums
        return sums.times(values)

    @staticmethod
    def backward(context: Any, grad: Tensor) -> Any:
        return _Bring.apply(grad, context.sums.transposed), None


def bring(values: Tensor, sums: Sums) -> Tensor:
    """Cells [batch, cell, time] to catchments [batch, catchment, time], with gradients."""
    found: Tensor = _Bring.apply(values, sums)
    return found


# ── arrays of cupy ────────────────────────────────────────────────────────────────────────────────────────────────────


def multiply_cupy(product: Product, data: Any, order: Sequence[int], n_axes: int, steps: Steps) -> Any:
    """`Product` of an array of cupy, as one, on its device; in this ``order`` of its axes the last ``n_axes`` are the grid's."""
    import cupy

    with cupy.cuda.Device(data.device.id):
        view = cupy.ascontiguousarray(data.transpose(order)).astype(compute_type(data.dtype), copy=False)
        sizes, cells = view.shape[:-n_axes], int(np.prod(view.shape[-n_axes:]))
        cupy.cuda.get_current_stream().synchronize()  # torch works on a stream of its own
        values = torch.from_dlpack(view.reshape(-1, cells))
        found = multiply_tensor(product, values, int(view.shape[-1]))
        wrong = not bool(torch.isfinite(found[:, torch.from_numpy(product.table.counts > 0).to(found.device)]).all())
        torch.cuda.synchronize(found.device)
        result = cupy.from_dlpack(found).reshape(*sizes, product.table.n)
        if wrong:
            host = on_host(view)
            host = host[..., None, :] if n_axes == 1 else host
            product.explain(host, on_host(result), steps)
        return cupy.ascontiguousarray(cupy.moveaxis(result, -1, min(order[-n_axes:])))


def multiply_tensor(product: Product, values: Tensor, n_columns: int) -> Tensor:
    """`Product` of cells [step, cell], as [step, catchment], in the type of the cells; NaN where there is no value."""
    table = product.table
    divisor = torch.from_numpy(np.array(product.divisor)).to(values.device)[None]
    of_step = max(1, DENSE_BYTES // max(1, 8 * values.shape[1]))
    weights, areas = _matrices(product, n_columns, values.shape[1])
    found = values.new_empty((values.shape[0], table.n))
    for t in range(0, values.shape[0], of_step):
        cells = values[t : t + of_step].double()
        gaps = torch.isnan(cells)
        if product.nan != "raise":
            cells = torch.where(gaps, 0.0, cells)
        total = weights.times_sparse(cells.T[None])[0].T
        if areas is not None:
            present, whole = (areas.times_sparse(p.T[None])[0].T for p in ((~gaps).double(), torch.ones_like(cells)))
            renewed = torch.where(present > 0, total * (whole / present), torch.nan)
            total = torch.where(present == whole, total, renewed)
        found[t : t + of_step] = total * product.factor / divisor
    return found


_MATRICES: WeakKeyDictionary[Product, dict[tuple[int, int], tuple[Sums, Sums | None]]] = WeakKeyDictionary()
"""Of each product that is in use: its blocks come one after another, and matrices stay on their device for them."""


def _matrices(product: Product, n_columns: int, n_cells: int) -> tuple[Sums, Sums | None]:
    """Sums of weights; and of areas, where NaN is taken from other cells."""
    made, table = _MATRICES.setdefault(product, {}), product.table
    if (n_columns, n_cells) not in made:
        cell = table.row * np.int64(n_columns) + table.column
        weights = Sums(table.pointer, cell, product.weight, n_cells)
        areas = Sums(table.pointer, cell, table.area, n_cells) if product.nan == "others" else None
        made[n_columns, n_cells] = weights, areas
    return made[n_columns, n_cells]
