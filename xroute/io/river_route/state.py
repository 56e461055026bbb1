"""river-route's states: discharge of one instant, in the order of the network's table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, NetworkError, ParameterError, StateError, require, some, warn
from xroute.files.opening import PathLike, existing
from xroute.files.writing import write_table
from xroute.ids import exact_ids
from xroute.io.common import dataset_of
from xroute.io.layout_series import snapshot_of
from xroute.io.river_route.config import find_files, is_config
from xroute.io.river_route.contents import TABLES
from xroute.io.river_route.layout import LAYOUTS, STATE, layout_of_version
from xroute.io.river_route.network import ROW, ROWS
from xroute.io.river_route.order import depth_first, whole_number_ids
from xroute.io.river_route.steps import SCHEMES
from xroute.labels import match_rows
from xroute.network import Network
from xroute.state_form import is_state, open_state
from xroute.wording import argument

__all__ = ["read_state", "write_state"]


def read_state(path: PathLike, network: Any = None) -> xr.DataArray:
    """Read a state of river-route as a snapshot for `xroute.initial_state`.

    Parameters
    ----------
    path
        The table (Parquet): a column ``Q``, in the order of the network's table (version 2), or ``riverId`` and ``Q``
        (version 3). Or a folder or a configuration, whose initial state is read.
    network
        Network Dataset of `read_network`, or one of some of its reaches. The result takes its reaches and order; needed where
        the file has no ids.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (reach) [m3 s-1], float64. Of a river that version 3 has routed as several sub-reaches, the last one's.

    Raises
    ------
    FileNotFoundError
        If there is none.
    AlignmentError
        For a file without ids that has not as many rows as the network's table, and reaches that are not in it.
    StateError
        For a table of something else, and values that are no finite numbers.

    Warns
    -----
    UserWarning
        Where a river has several rows, of sub-reaches.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from xroute.io import river_route
    >>> folder = tempfile.mkdtemp()
    >>> table = pd.DataFrame({"river_id": [1, 2], "downstream_river_id": [2, -1], "k": 3600.0, "x": 0.2})
    >>> table.to_parquet(folder + "/params.parquet")
    >>> pd.DataFrame({"Q": [1.0, 2.0]}).to_parquet(folder + "/state.parquet")
    >>> river_route.read_state(folder + "/state.parquet", river_route.read_network(folder)).values
    array([1., 2.])
    """
    file = existing(path)
    if file.is_dir() or is_config(file):
        found = find_files(file).get("state")
        if found is None:
            raise FileNotFoundError(f"no initial state of river-route in {path}: name its file")
        file = found
    ids, flow = _table(file)
    bad = ~np.isfinite(flow)
    if bad.any():
        first = int(bad.argmax())
        raise StateError(f"{file}: {int(bad.sum())} values of {STATE} are missing or infinite, the first in row {first}")
    rivers = dataset_of(network)
    if ids is None:
        ids, flow = _by_row(file, flow, rivers)
    elif rivers is not None:
        wanted = exact_ids(rivers["reach"].to_numpy(), "network reach")
        row, _ = match_rows(ids, wanted, "raise", "drop", f"ids of {file}", "state")
        ids, flow = (ids, flow) if row is None else (wanted, flow[row])
    return xr.DataArray(
        flow, {"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})}, ("reach",), "discharge",
        {"units": "m3 s-1", "long_name": "instantaneous discharge"},
    )  # fmt: skip


def _table(file: Path) -> tuple[NDArray[Any] | None, NDArray[np.float64]]:
    """Ids of rivers, where the table has them, and their discharge; one row a river."""
    parquet = require("pyarrow.parquet", feature="reading river-route's tables", extra="io")
    try:
        table = parquet.read_table(file).to_pandas()
    except (OSError, ValueError) as error:
        raise StateError(f"{file} is not readable as Parquet: {error}") from error
    table = table.reset_index() if table.index.name in {layout.reach for layout in LAYOUTS.values()} else table
    names = [layout.reach for layout in LAYOUTS.values() if layout.reach in table.columns]
    others = [name for name in table.columns if name not in names]
    if len(names) > 1 or len(others) != 1 and STATE not in others or len(others) > 1 and names == []:
        raise StateError(f"{file} is no state of river-route: it has {some(table.columns)}; one has {STATE}, and perhaps riverId")
    values = table[STATE if STATE in others else others[0]].to_numpy()
    if values.dtype.kind not in "fiu":
        raise StateError(f"{file}: {STATE} is {values.dtype}, not numbers")
    flow = values.astype(np.float64)
    if not names:
        return None, flow
    ids = exact_ids(table[names[0]].to_numpy(), f"{names[0]} of {file}", AlignmentError)
    ends = np.append(ids[1:] != ids[:-1], True) if ids.size else np.empty(0, bool)
    if not ends.all():
        warn(
            f"{file} has {ids.size} rows for {int(ends.sum())} rivers: river-route has routed some as sub-reaches. The last of a "
            "river's is taken for its discharge, and what the others hold is not"
        )
    return ids[ends], flow[ends]


def _by_row(file: Path, flow: NDArray[np.float64], network: xr.Dataset | None) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Reaches and discharge of a file without ids, which has the order of the network's table."""
    if network is None:
        raise AlignmentError(f"{file} names no ids (its order is that of the network's table): give {argument('network')}")
    if ROW not in network.variables or ROWS not in network.attrs:
        raise AlignmentError(
            f"{file} names no ids, and the network does not know the order of river-route's table: give the Dataset of "
            "xroute.io.river_route.read_network"
        )
    if flow.size != network.attrs[ROWS]:
        raise AlignmentError(
            f"{file} has {flow.size} rows, and the table of the network had {network.attrs[ROWS]}: it is of another network"
        )
    ids = exact_ids(network["reach"].to_numpy(), "network reach")
    return ids, flow[network[ROW].to_numpy()]


def write_state(state: Any, path: PathLike, network: Any, *, version: int = 2, overwrite: bool = False) -> None:
    """Write a state for river-route, in the order in which `write_network` writes the same network.

    Parameters
    ----------
    state
        A state of `xroute.route` (``return_state=True``), its path, or a snapshot of discharge (reach).
    path
        ``*.parquet``.
    network
        The network, whose reaches may stand in any order.
    version
        Of river-route: 2 has the column ``Q`` alone, 3 ``riverId`` and ``Q``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    StateError
        For states of other reaches, and such as hold more than river-route's do: several members, water on hillslopes, another
        ``lateral`` than ``"interval"`` or another scheme, which have past inflow that river-route would not know; and values
        that are not finite.
    NetworkError, ParameterError, UnitsError, FileExistsError
        As `write_network`.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import river_route
    >>> network, ds = xroute.datasets.tutorial()
    >>> _, state = ds.runoff.isel(time=slice(0, 24)).route(network, lateral="interval", return_state=True)
    >>> path = tempfile.mkdtemp() + "/state.parquet"
    >>> river_route.write_state(state, path, network, version=3)
    >>> bool((river_route.read_state(path, network) == state.outflow).all())
    True
    """
    layout = layout_of_version(version)
    if Path(path).suffix.lower() not in TABLES:
        raise ParameterError(f"river-route's state is Parquet: name it *{TABLES[0]}, not {path}")
    rivers = dataset_of(network)
    if rivers is None:
        raise NetworkError(f"a state of river-route has the order of the network: give {argument('network')}")
    river = network if isinstance(network, Network) else Network(rivers)
    whole_number_ids(river.ids)
    flow = snapshot_of(_checked(state), river, "river-route").to_numpy()
    bad = ~np.isfinite(flow)
    if bad.any():
        raise StateError(f"discharge of the state is not finite on {int(bad.sum())} reaches: {some(river.ids[bad])}")
    order = depth_first(river, version).row
    columns = {} if version == 2 else {layout.reach: river.ids[order]}
    write_table({**columns, STATE: flow[order]}, path, overwrite=overwrite)


def _checked(state: Any) -> xr.DataArray | xr.Dataset:
    """A state of which discharge is all that counts, or a snapshot."""
    if isinstance(state, xr.DataArray):
        return state
    found = state if isinstance(state, xr.Dataset) and is_state(state) else open_state(state)
    scheme, lateral = found.attrs.get("scheme"), found.attrs.get("lateral")
    if lateral != "interval" or scheme not in SCHEMES:
        raise StateError(
            f"the state is of scheme {scheme!r} with lateral={lateral!r}, and remembers what flowed in: river-route routes by "
            'muskingum with lateral="interval". Route so, or give its discharge alone (state.outflow)'
        )
    return found
