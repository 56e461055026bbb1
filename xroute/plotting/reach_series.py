"""Series of the reaches that a picture shows: found by id, read or computed once, and named."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, some
from xroute.ids import exact_ids, positions_of
from xroute.plotting.time_axis import along_time, numbers_on_axis
from xroute.reach_ids import read_reach_ids
from xroute.units import require_array

__all__ = ["MOST_PANELS", "Gauges", "chosen_reaches", "gauge_names"]

Gauges = Hashable | Sequence[Hashable] | Mapping[Hashable, str]
"""The id of a reach, several, or a mapping from ids to names."""
MOST_PANELS = 60
"""Reaches that one picture shows at most."""


def chosen_reaches(
    discharge: xr.DataArray, gauges: Any, time_dim: Hashable | None = None, what: str = "discharge"
) -> tuple[xr.DataArray, dict[Hashable, str]]:
    """Series of some reaches, read and in memory, on ``reach`` and ``time``, which is in order; and their names by id.

    Raises
    ------
    AlignmentError
        For reaches that there are not.
    """
    series = along_time(require_array(discharge, what), time_dim, what)
    names = None if gauges is None else gauge_names(gauges)
    if "reach" in series.coords and not series["reach"].ndim:
        series = series.expand_dims("reach")  # of one reach that was selected
    asked = None if names is None else exact_ids(np.array(list(names)), "gauges", AlignmentError)
    dim, bearer, ids = _ids_of(series, asked, what)
    if names is None:
        if ids.size > MOST_PANELS:
            raise AlignmentError(f"the {what} has {ids.size} reaches: say which to draw, by their ids, such as {some(ids, 3)}")
        names, asked = gauge_names(ids.tolist()), ids
    assert asked is not None
    position = positions_of(asked, ids)
    if (position < 0).any():
        raise AlignmentError(f"no such reach in the {what}: {some(asked[position < 0])}; it has {some(ids, 5)}")
    found = series.isel({dim: position})
    found = found.drop_vars([n for n, c in found.coords.items() if dim in c.dims]).swap_dims({dim: "reach"})
    found = found.assign_coords(reach=asked)
    data = on_host(found.compute().data)
    found = found.copy(data=np.asarray(data, np.float64)).transpose("reach", "time", ...)
    at = numbers_on_axis(found["time"])
    return (found if (np.diff(at) >= 0).all() else found.isel(time=np.argsort(at, kind="stable"))), names


def _ids_of(series: xr.DataArray, asked: NDArray[Any] | None, what: str) -> tuple[Hashable, Hashable, NDArray[Any]]:
    """Dimension of the reaches, and their ids; those asked for say what is looked for."""
    wanted = np.empty(0, np.int64) if asked is None else asked
    try:
        return read_reach_ids(series, wanted, None, "time", what)
    except AlignmentError as error:
        text = str(error).replace("of the network", "that are drawn").replace("the network's", "those asked for")
        raise AlignmentError(text) from None


def gauge_names(gauges: Any) -> dict[Hashable, str]:
    """Names of gauges by id."""
    if isinstance(gauges, Mapping):
        return {g: f"reach {g}" if name is None else str(name) for g, name in gauges.items()}
    if hasattr(gauges, "dtype"):
        gauges = np.atleast_1d(np.asarray(gauges)).tolist()
    values = list(gauges) if isinstance(gauges, Iterable) and not isinstance(gauges, str) else [gauges]
    plain = [v.item() if hasattr(v, "item") else v for v in values]
    return {g: f"reach {g}" for g in plain}
