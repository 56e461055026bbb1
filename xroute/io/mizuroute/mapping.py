"""Runoff of HRUs, of another model's units or of a grid, brought to reaches by mizuRoute's rules.

Its rules are not those of `xroute.grids`: units without runoff, and those below -1e-6, leave their place to the others of an HRU,
time by time; weights that do not sum to one are made to; and no reach gets less than nothing. They are written here once, over
all steps of a block at a time.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, NetworkError, some, warn
from xroute.files.opening import PathLike, open_netcdf
from xroute.grids.mizuroute import read_mapping
from xroute.ids import positions_of, within
from xroute.io.mizuroute.control import Control
from xroute.io.mizuroute.network import HRU, HRU_AREA, HRU_REACH

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Mapping", "hrus_of", "mapping_of_file", "mapping_of_hrus"]

logger = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""Below minus this runoff does not count; and this is how far from one the sum of weights may be."""
USUAL = {
    "vname_hruid_in_remap": "polyid", "vname_num_qhru": "overlaps", "vname_weight": "weight",
    "vname_qhruid": "overlapPolyId", "vname_i_index": "i_index", "vname_j_index": "j_index",
}  # fmt: skip
"""Variables of a mapping, by the tags that may call them otherwise."""


@dataclass(frozen=True, eq=False)
class Mapping:
    """What brings runoff to reaches.

    Attributes
    ----------
    weights : sparse [HRU, unit], or None
        Parts of HRUs; None where the units are HRUs, in the order of ``unit``.
    unit : [HRU]
        Where an HRU stands among the units, -1 where it does not; of no use where there are weights.
    areas : sparse [reach, HRU]
        Areas [m2] of the HRUs that drain to a reach.
    least : float
        Least runoff of a reach [m s-1] (``<runoffMin>``).
    factor, scale, offset : float
        Metres per second of the file's units, and what its values are multiplied by and added to before.
    fill : float or None
        Value that means missing, where the file declares none.
    """

    weights: csr_array | None
    unit: NDArray[np.int64]
    areas: csr_array
    least: float = 0.0
    factor: float = 1.0
    scale: float = 1.0
    offset: float = 0.0
    fill: float | None = None

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Runoff of reaches [..., reach] in m3 s-1, of that of units [..., unit]. What is missing counts as zero."""
        given = np.asarray(values)
        shape = given.shape[: given.ndim - 1]
        depth = given.reshape(-1, given.shape[-1]).astype(np.float64)
        if self.fill is not None:
            depth[given.reshape(depth.shape) == given.dtype.type(self.fill)] = np.nan
        depth = depth * self.scale + self.offset
        hrus = self._hrus(depth)
        missing = np.isnan(hrus)
        if missing.any():
            warn(f"runoff is missing on {int(missing.sum())} HRUs and steps: it is taken for zero, as in mizuRoute")
            hrus = np.where(missing, 0.0, hrus)
        area = np.asarray(self.areas.sum(axis=1)).ravel()
        flow = np.asarray(self.areas @ (hrus * self.factor).T).T
        least = self.least * np.where(area > 0, area, 1.0)
        low = flow < least
        negative = int((flow < 0).sum())
        if negative:
            warn(f"runoff is negative on {negative} reaches and steps: none gets less than nothing, as in mizuRoute")
        return np.where(low, least, flow).reshape(*shape, -1)

    def _hrus(self, depth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Runoff depth of HRUs [step, HRU], in the file's units."""
        if self.weights is None:
            found = np.where(self.unit >= 0, depth[:, np.maximum(self.unit, 0)], 0.0)
            negative = found < 0
            if negative.any():
                warn(f"runoff is negative on {int(negative.sum())} HRUs and steps: it is taken for zero, as in mizuRoute")
            return np.where(negative, 0.0, found)
        counts = depth > -TOLERANCE  # NaN does not
        ignored = int((~counts & np.isfinite(depth)).sum())
        if ignored:
            warn(
                f"runoff is below {-TOLERANCE:g} on {ignored} cells and steps: these are left out of the means of HRUs, as in "
                "mizuRoute"
            )
        total = (self.weights @ np.where(counts, depth, 0.0).T).T
        share = (self.weights @ counts.T.astype(np.float64)).T
        divide = (share > TOLERANCE) & (np.abs(1.0 - share) > TOLERANCE)
        mean = np.where(divide, total / np.where(divide, share, 1.0), total)
        covered = np.diff(self.weights.indptr) > 0
        return np.where((share <= 0) & covered, np.nan, mean)  # all of its cells are missing


def hrus_of(network: xr.Dataset) -> tuple[NDArray[Any], csr_array]:
    """Ids of the HRUs that drain to reaches, and their areas as a matrix [reach, HRU].

    Raises
    ------
    NetworkError
        If the network has none.
    """
    from scipy.sparse import csr_array

    if HRU_REACH not in network or HRU_AREA not in network:
        raise NetworkError("the network has no HRUs (hruSegId, area): runoff of HRUs cannot be brought to its reaches")
    to = network[HRU_REACH].values
    inside = np.flatnonzero(within(to, network["reach"].values))
    row = positions_of(to[inside], network["reach"].values)
    entries = network[HRU_AREA].values[inside], (row, np.arange(inside.size))
    return network[HRU].values[inside], csr_array(entries, shape=(network.sizes["reach"], inside.size))


def mapping_of_hrus(network: xr.Dataset, ids: NDArray[Any], what: str, **options: Any) -> Mapping:
    """Mapping of runoff that stands on the network's own HRUs, of these ids."""
    hrus, areas = hrus_of(network)
    unit = positions_of(hrus, ids)
    lacking, extra = hrus[unit < 0], ids[~within(ids, hrus)]
    if lacking.size == hrus.size and hrus.size:
        raise AlignmentError(f"none of the network's {hrus.size} HRUs is in {what}, which has {some(ids)}: is it for another?")
    if lacking.size:
        warn(f"{lacking.size} of {hrus.size} HRUs have no runoff in {what}: {some(lacking)}. It is zero there, as in mizuRoute")
    if extra.size:
        logger.info("%d HRUs of %s drain to no reach of the network, and are left out: %s", extra.size, what, some(extra))
    return Mapping(None, unit, areas, **options)


def mapping_of_file(
    network: xr.Dataset, file: PathLike, control: Control, shape: tuple[int, ...], ids: NDArray[Any] | None, what: str,
    **options: Any,
) -> Mapping:  # fmt: skip
    """Mapping of runoff on a grid of this shape (rows, columns), or on a model's units of these ids, by a file of weights."""
    from scipy.sparse import csr_array

    hrus, areas = hrus_of(network)
    with open_netcdf(file) as opened:
        raw = _with_usual_names(opened.load(), control, file)
    if ids is not None:  # a file may have both
        raw = raw.drop_vars([n for n in ("i_index", "j_index") if n in raw and "overlapPolyId" in raw])
    table = read_mapping(raw, str(file))
    row, given = positions_of(table.owner, hrus), table.part
    assert given is not None
    if table.cell_id is None:
        if len(shape) != 2:
            raise AlignmentError(f"{file} is of a grid (i_index, j_index), and {what} has the dimensions of units")
        outside = (table.index[0] >= shape[0]) | (table.index[1] >= shape[1])
        column = table.index[0] * shape[-1] + table.index[1]
        where = f"beyond the {shape[1]} columns and {shape[0]} rows of {what}"
    else:
        if ids is None:
            raise AlignmentError(f"{file} names units (overlapPolyId), and {what} is on a grid")
        column = positions_of(table.cell_id, ids)
        outside, where = column < 0, f"not among the units of {what}"
    if table.cell_id is None and outside.any():  # mizuRoute warns; but the cells that are there are likely others, too
        raise AlignmentError(
            f"{int(outside.sum())} overlaps of {file} are {where}: it is for another grid, or i_index (columns) and j_index "
            "(rows) are exchanged"
        )
    if outside.all() and outside.size:
        raise AlignmentError(f"all {outside.size} overlaps of {file} are {where}: is it for another one?")
    if (outside & (row >= 0)).any():
        warn(f"{int((outside & (row >= 0)).sum())} overlaps of {file} are {where}: the others of their HRUs take their place")
    used = (row >= 0) & ~outside
    weights = csr_array((given[used], (row[used], column[used])), shape=(hrus.size, int(np.prod(shape))))
    bare = hrus[np.diff(weights.indptr) == 0]
    if bare.size == hrus.size and hrus.size:
        raise AlignmentError(f"none of the network's {hrus.size} HRUs is in {file}, which has {some(table.catchment)}")
    if bare.size:
        warn(f"{bare.size} of {hrus.size} HRUs have no overlap in {file}: {some(bare)}. Their runoff is zero, as in mizuRoute")
    return Mapping(weights, np.arange(hrus.size), areas, **options)


def _with_usual_names(raw: xr.Dataset, control: Control, file: PathLike) -> xr.Dataset:
    """A mapping whose variables are called as mizuRoute calls them where a control file does not say otherwise."""
    renamed = {}
    for tag, usual in USUAL.items():
        said = control.values.get(tag)
        if said is None or said == usual:
            continue
        if said not in raw.variables:
            if tag in ("vname_qhruid", "vname_i_index", "vname_j_index"):  # of grids, or of units: one of them
                continue
            raise NetworkError(f"{file} has no variable {said!r}, which <{tag}> names; it has {some(raw.variables)}")
        renamed[said] = usual
    taken = {name for name in renamed.values() if name not in renamed}
    return xr.Dataset({
        renamed.get(str(name), str(name)): ([f"{d}_" for d in variable.dims], variable.values, variable.attrs)
        for name, variable in raw.variables.items() if str(name) not in taken
    })  # fmt: skip
