"""Blocks of a grid times weights: plain arrays in, plain arrays out; and what is said where cells are NaN.

A block is multiplied as it lies in memory, without a copy of it in another order and without a dense matrix.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import compute_type
from xroute.engine.backends import backend_of_array
from xroute.engine.cpu.walk import on_threads
from xroute.exceptions import XRouteError
from xroute.grids.kernels import RENORMALISE, STRICT, ZERO, sum_cells, take_cells
from xroute.grids.table import Table
from xroute.options import n_threads
from xroute.settings import GRID_NAN
from xroute.wording import argument, phrase

__all__ = ["Product", "Steps", "outer_axes", "split", "take"]

Float = NDArray[np.float64]

FEW = 2**18
"""Overlaps times steps that one thread has done before others have begun."""
WORST = 5
"""Catchments that an error names with the part of their area."""
GAPS: Mapping[str, int] = dict(zip(GRID_NAN, (STRICT, ZERO, RENORMALISE), strict=True))


@dataclass(frozen=True)
class Steps:
    """Labels along the dimensions of a block that are not the grid's, to name what is wrong.

    Attributes
    ----------
    dims
        Names of these dimensions, in the block's order.
    labels
        Labels along each; None where it has none.
    first
        Position of the block's first entry along each.
    """

    dims: tuple[Any, ...]
    labels: tuple[NDArray[Any] | None, ...]
    first: tuple[int, ...]

    def at(self, first: Sequence[int]) -> Steps:
        """The same for a block that begins elsewhere."""
        return Steps(self.dims, self.labels, tuple(first))

    def name(self, position: Sequence[int]) -> str:
        """The place of a position in the block, in words."""
        named = []
        for dim, labels, first, k in zip(self.dims, self.labels, self.first, position, strict=True):
            label = first + int(k) if labels is None else labels[first + int(k)]
            named.append(f"{dim} {str(label)[:19]}")
        return ", ".join(named)


@dataclass(frozen=True, eq=False)
class Product:
    """What becomes of a block: weights, the factor that units want, and what is done about NaN.

    Attributes
    ----------
    table
        The overlaps.
    divisor : float64 [catchment]
        What a catchment's sum is divided by; NaN where there is no value.
    factor
        What it is multiplied by besides.
    nan
        ``"raise"``, ``"zero"`` or ``"others"``.
    shared
        Whether cells are shared out, by the parts of them that overlaps are; else what they have is per area.
    """

    table: Table
    divisor: Float
    factor: float
    nan: str
    shared: bool

    @classmethod
    def of(cls, table: Table, *, shared: bool, mean: bool, factor: float, nan: str) -> Product:
        """Volumes of depths; of volumes of cells that are ``shared`` out; or ``mean`` depths."""
        divisor = np.where(table.totals > 0, table.totals, np.nan) if mean else np.ones(table.n)
        return cls(table, divisor, factor, nan, shared)

    @property
    def weight(self) -> Float:
        """What a cell's value is multiplied by [overlap]."""
        weight = self.table.share if self.shared else self.table.area
        assert weight is not None
        return weight

    def part(self, at: Any) -> Product:
        """The product of some catchments alone."""
        return replace(self, table=self.table.take(at), divisor=self.divisor[at])

    def at(self, row: Any, column: Any) -> Product:
        """The same, with the cells elsewhere."""
        return replace(self, table=self.table.at(row, column))

    def __call__(self, data: Any, axes: Sequence[int], steps: Steps) -> Any:
        """Multiply a block.

        Parameters
        ----------
        data
            The block, of numpy or on a backend's device.
        axes
            Its axes of rows and columns, or of cells.
        steps
            Labels along its other axes.

        Returns
        -------
        The same without these axes, and with one of catchments where the first of them stood; float32 for float32 and
        halves, else float64.

        Raises
        ------
        XRouteError
            For NaN, unless it is taken otherwise, and for values that are infinite.
        """
        if backend_of_array(data) is not None:
            from xroute.grids.device import multiply_cupy

            return multiply_cupy(self, data, [*outer_axes(data.ndim, axes), *axes], len(axes), steps)
        dtype = compute_type(data.dtype)
        view = _native(data).transpose([*outer_axes(data.ndim, axes), *axes])
        view = view[..., None, :] if len(axes) == 1 else view
        out = np.empty(result_shape(data.shape, axes, self.table.n), dtype)
        reach = min(axes)
        turned = np.moveaxis(out, reach, -1)
        if self._sum(view, turned):
            self.explain(view, turned, steps)
        return out

    def _sum(self, view: Any, out: Any) -> int:
        """Sum cells [..., row, column] into catchments [..., catchment]; how many values are not finite."""
        table = self.table
        threads = n_threads() if table.area.size * out.size > FEW * max(1, table.n) else 1
        inside = np.searchsorted(table.pointer, np.linspace(0, table.area.size, 4 * threads + 1)[1:-1])
        edges = np.unique([0, *(inside if threads > 1 else ()), table.n]).tolist()

        def some_catchments(part: tuple[Any, Any, int, int]) -> int:
            return int(sum_cells(
                *part, table.pointer, table.row, table.column, self.weight, table.area, self.factor, self.divisor, GAPS[self.nan]
            ))  # fmt: skip

        parts = [(*blocks, *ends) for blocks in split(view, out) for ends in itertools.pairwise(edges)]
        return sum(on_threads(some_catchments, parts, threads))

    def explain(self, view: Any, out: Any, steps: Steps) -> None:
        """Raise the error for values [..., catchment] that are not finite, of cells [..., row, column]."""
        table = self.table
        has = table.counts > 0
        wrong = ~np.isfinite(out)[..., has].all(axis=-1)
        places = np.argwhere(wrong)
        owner = np.repeat(np.arange(table.n), table.counts)
        worst, empty, infinite, cells = np.zeros(table.n), np.zeros(table.n, bool), np.zeros(table.n, bool), 0
        for place in places[:LOOKED_AT]:
            values = np.asarray(view[tuple(place)])[table.row, table.column].astype(np.float64)
            bad = ~np.isfinite(values)
            part = np.bincount(owner, np.where(bad, table.area, 0.0), table.n) / np.where(has, table.totals, 1.0)
            worst, empty = np.maximum(worst, part), empty | (np.bincount(owner, ~bad, table.n) == 0) & has
            infinite |= np.bincount(owner, np.isinf(values), table.n) > 0
            where = table.row[bad] * np.int64(view.shape[-1]) + table.column[bad]
            cells = max(cells, np.unique(where).size)
        count = f"in {len(places)} of {wrong.size} steps, first at {steps.name(places[0])}" if places.shape[1] else ""
        count = f" ({count})" if count and places.shape[1] and steps.dims else ""
        raise XRouteError(self._words(cells, count, worst, empty, infinite))

    def _words(self, cells: int, count: str, worst: Float, empty: Any, infinite: Any) -> str:
        def named(those: Any) -> str:
            order = np.flatnonzero(those)
            order = order[np.argsort(-worst[order], kind="stable")]
            shown = ", ".join(f"{self.table.ids[k].item()!r} ({worst[k]:.3g} of its area)" for k in order[:WORST])
            return f"{shown}, ..." if order.size > WORST else shown

        if infinite.any():
            return (
                f"the grid is infinite in cells of {int(infinite.sum())} catchments{count}: {named(infinite)}. Infinite values "
                "are no gaps, whatever nan= says: mend them"
            )
        if not worst.any():
            wider = argument("dtype", "float64", python='grid.astype("float64")')
            return f"runoff of catchments overflows float32{count}: check the values and units of the grid, or {wider}"
        if self.nan == "others":
            left_out = phrase(
                "weights left out",
                "xroute.grids.select_weights(weights, ids) leaves these catchments out of the weights, and missing='zero' "
                "routes the network without their runoff",
            )
            return (
                f"all cells of {int(empty.sum())} catchments are NaN{count}: {named(empty)}. There are no others to take their "
                f"runoff from. {argument('nan', 'zero')} takes NaN of all catchments as no water; {left_out}"
            )
        return (
            f"{cells} cells that lie in catchments are NaN{count}, in {int((worst > 0).sum())} catchments; the worst are "
            f"{named(worst > 0)}. If they are sea, take their part from the other cells of the catchment with "
            f"{argument('nan', 'others')}, or as no water with {argument('nan', 'zero')}"
        )


LOOKED_AT = 50
"""Steps with something wrong that are looked at, to say what it is."""


def outer_axes(n: int, axes: Sequence[int]) -> list[int]:
    """The axes that are not the grid's, of n."""
    return [k for k in range(n) if k not in axes]


def result_shape(shape: Sequence[int], axes: Sequence[int], n: int) -> tuple[int, ...]:
    """Shape with one axis of n in place of the grid's, where the first of these stands."""
    return tuple(n if k == min(axes) else size for k, size in enumerate(shape) if k == min(axes) or k not in axes)


def take(data: Any, axes: Sequence[int], row: Any, column: Any) -> Any:
    """Values of some cells: a block with one axis of cells in place of the grid's, where the first of these stands."""
    if backend_of_array(data) is not None:
        view = data.transpose([*outer_axes(data.ndim, axes), *axes])
        cells = view[..., column] if len(axes) == 1 else view[..., row, column]
        return np.moveaxis(cells, -1, min(axes))
    data = _native(data)
    view = data.transpose([*outer_axes(data.ndim, axes), *axes])
    view = view[..., None, :] if len(axes) == 1 else view
    out = np.empty(result_shape(data.shape, axes, len(column)), data.dtype)
    threads = n_threads() if out.size > FEW else 1
    edges = np.linspace(0, len(column), threads + 1).astype(np.int64)
    parts = [
        (*blocks, *ends) for blocks in split(view, np.moveaxis(out, min(axes), -1)) for ends in itertools.pairwise(edges.tolist())
    ]
    on_threads(lambda part: take_cells(*part, row, column), parts, threads)
    return out


def _native(data: Any) -> NDArray[Any]:
    """The block itself, if the loops know its type; else as float32 (halves) or float64."""
    data = np.asarray(data)
    if data.dtype in (np.float32, np.float64) and data.dtype.isnative:
        return data
    return data.astype(compute_type(data.dtype))


def split(view: Any, out: Any) -> list[tuple[Any, Any]]:
    """Blocks [..., row, column] and results [..., catchment] with two axes before these, the one that lies closest last."""
    n = view.ndim - 2
    order = sorted(range(n), key=lambda k: -abs(view.strides[k]))
    view, out = view.transpose([*order, n, n + 1]), out.transpose([*order, n])
    while view.ndim < 4:
        view, out = view[None], out[None]
    view = view.view()
    view.flags.writeable = False  # numba compiles anew for arrays that may be written to
    return [(view[i], out[i]) for i in np.ndindex(view.shape[:-4])]
