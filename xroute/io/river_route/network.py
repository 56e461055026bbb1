"""A river-route network: its table, read with the order of its rows, and written in the order that river-route wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import NetworkError, ParameterError, require, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.io.common import dataset_of
from xroute.io.layouts import muskingum_of
from xroute.io.river_route.config import Config, find_files, is_config, read_config
from xroute.io.river_route.contents import TABLES
from xroute.io.river_route.layout import LAYOUTS, OUTLET, Layout, layout_of_version
from xroute.io.river_route.order import DepthFirst, depth_first, whole_number_ids
from xroute.io.river_route.steps import as_muskingum, with_own_steps
from xroute.network import Network
from xroute.tables import read_table
from xroute.times import seconds
from xroute.topology import reach_variables
from xroute.wording import argument

__all__ = ["ROW", "ROWS", "read_network", "write_network"]

ROW, ROWS = "params_row", "params_rows"
"""Variable of a network with the rows of its reaches in river-route's table, and attribute with how many that had."""


def read_network(path: PathLike, *, routing_step: Any = None) -> xr.Dataset:
    """Read a river-route network, of version 2 or 3.

    Parameters
    ----------
    path
        The table (Parquet), a folder that holds one, or a configuration.
    routing_step
        river-route's ``dt_routing``: seconds, or text like ``"15min"``; by default the configuration's.

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64 ids, in the order of the table): ``downstream`` (-1 at outlets), ``k`` [s], ``x``, and
        ``params_row``, the row in the table, by which states of version 2 find their reaches. Other columns are kept under
        their names. Attributes hold how river-route routes (see `xroute.recipe`): ``lateral``, ``sampling``, and
        ``routing_step`` and ``runoff_step`` [s] where a configuration says them. Version 3 has the scheme ``river_route_3``,
        and ``own_step`` [s] of each reach, as its configuration has it, or by ``dt_routing="auto"``.

    Raises
    ------
    NetworkError
        For tables that are missing or without the columns of either version, and ids that are no whole numbers or stand twice.
    XRouteError
        When several files could be the table.

    Warns
    -----
    UserWarning
        For rivers that version 3 splits because they are too long for their step: here they are routed whole.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from xroute.io import river_route
    >>> path = tempfile.mkdtemp() + "/params.parquet"
    >>> table = pd.DataFrame({"river_id": [1, 2], "downstream_river_id": [2, -1], "k": 3600.0, "x": 0.2})
    >>> table.to_parquet(path)
    >>> network = river_route.read_network(path, routing_step=900)
    >>> network["downstream"].values, network.attrs["lateral"], network.attrs["routing_step"]
    (array([ 2, -1]), 'interval', 900.0)
    """
    source = Path(path)
    config = None
    if source.is_dir() or is_config(source):
        files = find_files(source)
        config = read_config(files["config"]) if "config" in files else None
        if "network" not in files:
            named = " and ".join(f"{lay.reach}, {lay.downstream} (version {lay.version})" for lay in LAYOUTS.values())
            raise NetworkError(f"no table of river-route's network in {path}: it has the columns {named}")
        source = files["network"]
    return read_params(source, config, routing_step)


def read_params(file: Path, config: Config | None, routing_step: Any = None) -> xr.Dataset:
    """The network of a table, with what its configuration says of the names of columns and of steps."""
    if file.suffix.lower() not in TABLES:
        raise NetworkError(f"{file}: river-route's network is a Parquet table ({', '.join(TABLES)}), a folder or a configuration")
    layout, reach, units = _columns(file, config)
    network = read_table(file, reach, layout.downstream, f"river-route{'-3' if layout.version == 3 else ''}", units or None)
    ids, to = network["reach"].to_numpy(), network["downstream"].to_numpy()
    if ids.dtype.kind != "i" or to.dtype.kind != "i":
        raise NetworkError(f"{file}: {reach} and {layout.downstream} are whole numbers, and one of them is text")
    lacking = [name for name in ("k", "x") if name not in network.variables]
    if lacking:
        columns = {"k": layout.k, "x": layout.x}
        raise NetworkError(f"{file} has no column {some(columns[name] for name in lacking)}")
    if OUTLET not in ids and not ((to < 0) & (to != OUTLET)).any() and not ((to == 0) & ~(ids == 0).any()).any():
        network["downstream"].attrs["outlet"] = OUTLET
    network[ROW] = ("reach", np.arange(ids.size), {"long_name": "row in river-route's table, from 0"})
    network.attrs |= {
        "source": f"river-route {layout.version}: {file.resolve().parent.name}/{file.name}", ROWS: int(ids.size),
        "scheme": "muskingum", "lateral": "interval", "sampling": layout.sampling,
    }  # fmt: skip
    step = None if routing_step is None else seconds(routing_step)
    if config is not None:
        step = step or config.seconds("dt_routing")
        runoff = config.seconds("dt_runoff") or (config.is_dry and (config.seconds("dt_discharge") or step)) or None
        network.attrs |= {} if runoff is None else {"runoff_step": runoff}
    if layout.version == 3:
        return with_own_steps(network, step, config)
    return network.assign_attrs({} if step is None else {"routing_step": step})


def _columns(file: Path, config: Config | None) -> tuple[Layout, str, dict[str, str]]:
    """Layout of a table, the column of its ids, and units that its columns note."""
    parquet = require("pyarrow.parquet", feature="reading river-route's tables", extra="io")
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    try:
        schema = parquet.read_schema(file)
    except (OSError, ValueError) as error:  # Arrow's errors are of these kinds
        raise NetworkError(f"{file} is not readable as Parquet: {error}") from error
    units = {name: (schema.field(name).metadata or {}).get(b"units", b"").decode() for name in set(schema.names)}
    units = {name: text for name, text in units.items() if text}
    if config is not None:
        layout = config.layout
        reach = config.text("var_river_id", layout.reach) if layout.version == 2 else layout.reach
        if {reach, layout.downstream} <= set(schema.names):
            return layout, reach, units
        raise NetworkError(f"{file} has no columns {reach!r} and {layout.downstream!r}; it has {some(schema.names)}")
    fitting = [layout for layout in LAYOUTS.values() if layout.fits_network(schema.names)]
    if len(fitting) == 1:
        return fitting[0], fitting[0].reach, units
    named = " or ".join(f"{lay.reach} and {lay.downstream} (version {lay.version})" for lay in LAYOUTS.values())
    raise NetworkError(
        f"{file} has the columns of both versions of river-route, {named}: keep those of one" if fitting
        else f"{file} is no network of river-route: it has {some(schema.names)}, where columns are {named}"
    )  # fmt: skip


def write_network(network: Any, path: PathLike, *, version: int = 2, overwrite: bool = False) -> None:
    """Write a network as river-route's table.

    Parameters
    ----------
    network
        Network Dataset or `xroute.Network` of Muskingum reaches: ``k`` in any units of time, ``x``.
    path
        ``*.parquet``.
    version
        Of river-route: 2 or 3.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        For ids that are no whole numbers, an id of -1 (which marks outlets), and bifurcations: river-route has none.
    ParameterError
        For reaches of another scheme than Muskingum, and parameters that are missing or out of range.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Notes
    -----
    Rows stand upstream before downstream. Those of version 3 stand depth first, all that is upstream of a river right before
    it, which its columns ``riverIndex`` and ``upstreamCount`` count. Rows that are in order already are left as they are;
    others are put depth first, and so are those of runoff and of states that are written for the same network. Other
    variables of reaches are columns of their own, with their units noted in the file; river-route passes over them.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import river_route
    >>> network, _ = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/params.parquet"
    >>> river_route.write_network(network, path)
    >>> river_route.read_network(path)["k"].attrs["units"]
    's'
    """
    pa = require("pyarrow", feature="writing river-route's tables", extra="io")
    parquet = require("pyarrow.parquet", feature="writing river-route's tables", extra="io")
    layout, river = layout_of_version(version), _river(network)
    if Path(path).suffix.lower() not in TABLES:
        raise ParameterError(f"river-route's network is Parquet: name it *{TABLES[0]}, not {path}")
    order = depth_first(river, version)
    values = muskingum_of(as_muskingum(river), "river-route")
    columns: list[tuple[str, Any, dict[str, str]]] = [
        (layout.reach, river.ids[order.row], {}), (layout.downstream, order.downstream(river.ids), {}),
        (layout.k, values["k"][order.row], {"units": "s"}), (layout.x, values["x"][order.row], {}),
    ]  # fmt: skip
    if version == 3:
        columns += [
            ("riverIndex", np.arange(order.row.size, dtype=np.int32), {}),
            ("upstreamCount", order.n_upstream.astype(np.int32), {}),
        ]
    columns += _others(river.dataset, order, [name for name, _, _ in columns])
    arrays = [pa.array(values) for _, values, _ in columns]
    fields = [pa.field(name, array.type, metadata=about) for (name, _, about), array in zip(columns, arrays, strict=True)]
    with replacing(path, overwrite=overwrite) as draft:
        parquet.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), draft)


def _river(network: Any) -> Network:
    """The network, checked, of which river-route can hold the links and the ids."""
    dataset = dataset_of(network)
    if dataset is None:
        raise NetworkError(f"the network is needed: {argument('network')}")
    river = network if isinstance(network, Network) else Network(dataset)
    whole_number_ids(river.ids)
    return river


def _others(dataset: xr.Dataset, order: DepthFirst, taken: Sequence[str]) -> list[tuple[str, Any, dict[str, str]]]:
    """Variables of reaches that have no column yet."""
    ours = {"downstream", "k", "x", "scheme", "own_step", ROW}
    found = []
    for name in map(str, reach_variables(dataset)):
        variable = dataset[name]
        if name in ours or name in taken or name.lower() in {t.lower() for t in taken}:
            continue
        values = variable.to_numpy()[order.row]
        values = values.astype(object) if values.dtype.kind == "U" else values
        units = variable.attrs.get("units")
        found.append((name, values, {} if units is None else {"units": str(units)}))
    return found
