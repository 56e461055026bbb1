"""Write RAPID2's files: its tables in Parquet, external inflow, discharge and states in netCDF, and the namelist that names them.

RAPID2 takes ``kpr``, ``xpr``, ``Qext`` and ``Q00`` in the rows of ``con``, and wants ``bas`` from upstream to downstream; so they
are written. Layouts are those of RAPID2's own modules (``prep_Qou_ncf``, ``prep_Qfi_ncf``, ``read_std_vec``, ``chck_bas``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError, warn
from xroute.files.folders import filled_folder
from xroute.files.opening import PathLike
from xroute.files.writing import write_netcdf, write_table, write_text
from xroute.ids import within
from xroute.io.layout_series import Series, as_flux, is_first, series_of, snapshot_of
from xroute.io.layouts import compact, downstream_of, muskingum_of, places_of, upwards_first, whole_numbers
from xroute.io.rapid.frames import rapid_dataset, state_dataset
from xroute.io.rapid.writing import connect_rows, file_downstream, tell_recipe
from xroute.io.reader import ReaderOption
from xroute.io.writer import NothingToWrite, Outgoing, Writer
from xroute.network import Network
from xroute.network_files import as_network
from xroute.recipe import stated_seconds
from xroute.request import NetworkLike

__all__ = ["WRITER", "write_discharge", "write_network", "write_runoff", "write_state"]

SYSTEM = "RAPID2"
INFLOW = {"long_name": "mean external water inflow upstream of each river reach", "units": "m3 s-1",
          "cell_methods": "time: mean"}  # fmt: skip
OUTFLOW = {"long_name": "mean river water outflow downstream of each river reach", "units": "m3 s-1",
           "cell_methods": "time: mean"}  # fmt: skip
INSTANT = {"long_name": "instantaneous river water outflow downstream of each river reach", "units": "m3 s-1",
           "cell_methods": "time: point"}  # fmt: skip


def write_network(network: NetworkLike, folder: PathLike, *, name: str = "xroute", overwrite: bool = False) -> None:
    """Write RAPID2's tables: ``con``, ``kpr``, ``xpr``, ``bas``, and ``crd`` of places that are known, each ``*_NAME.parquet``.

    Parameters
    ----------
    network
        Network of Muskingum reaches, a tree or several, with ids from 1 on. Rows of ``con`` are in the order of
        ``connect_row`` where the network has it (`read_network` gives it), else in the network's own.
    folder
        Where to write; made if it is not there.
    name
        What the tables are called after.
    overwrite
        Replace files of these names.

    Raises
    ------
    NetworkError, ParameterError
        For text as ids, ids below 1, reaches that drain to several, and other schemes than Muskingum's.
    FileExistsError
        If one of the files is there already and ``overwrite`` is False; nothing is written then.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> network = rapid2.read_network(rapid_folder(tempfile.mkdtemp(), version=2, days=1))
    >>> folder = tempfile.mkdtemp()
    >>> rapid2.write_network(network, folder)
    >>> bool((rapid2.read_network(folder).k == network.k).all())
    True
    """
    with filled_folder(folder, overwrite) as draft:
        _write_tables(as_network(network), draft, name)


def write_runoff(
    runoff: xr.DataArray, path: PathLike, network: NetworkLike, *, dt: Any = None, dtype: Any = None, overwrite: bool = False
) -> None:
    """Write runoff as RAPID2 reads it: ``Qext(time, rivid)`` [m3 s-1] with ``time_bnds``, in the rows of ``con``.

    Parameters
    ----------
    runoff : (time, reach)
        Of all reaches of the network, in any order, in any units that `route` takes.
    path
        The netCDF file, usually ``Qex_*.nc4``.
    network
        The network, whose rows the file follows, and whose areas depths are multiplied by.
    dt
        Length of a step [s], a timedelta, or text like ``"3h"``; for a single time.
    dtype
        Type of the numbers; that of the runoff by default. RAPID2's own files have ``"float32"``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, NetworkError
        For reaches, times and units that the layout has no place for.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> network = rapid2.read_network(folder)
    >>> runoff = rapid2.read_runoff(folder, network)
    >>> rapid2.write_runoff(runoff, f"{folder}/again.nc4", network)
    >>> rapid2.read_runoff(f"{folder}/again.nc4", network).equals(runoff)
    True
    """
    river = as_network(network)
    series = series_of(runoff, river, SYSTEM, what="runoff", whole=True, dt=dt)
    ids = whole_numbers(river.ids, SYSTEM)[connect_rows(river)]
    dataset, encoding = rapid_dataset("Qext", as_flux(series, river, "runoff"), series, ids, river, INFLOW, dtype)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: NetworkLike | None = None, *, dt: Any = None, dtype: Any = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write discharge as RAPID2 does: ``Qout(time, rivid)`` [m3 s-1] with ``time_bnds``, in the rows of ``bas``.

    Parameters
    ----------
    discharge : (time, reach)
        Of all reaches or some, in any units of a volume flux.
    path
        The netCDF file, usually ``Qou_*.nc4``.
    network
        For the order, and places; without it the order is that of the discharge.
    dt, dtype, overwrite
        As for `write_runoff`.

    Raises
    ------
    AlignmentError, TimeAxisError, UnitsError, NetworkError, FileExistsError
        As `write_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> network = rapid2.read_network(folder)
    >>> discharge = rapid2.read_runoff(folder, network).route(network)
    >>> rapid2.write_discharge(discharge, f"{folder}/routed.nc4", network)
    >>> rapid2.read_discharge(f"{folder}/routed.nc4", network).equals(discharge)
    True
    """
    river = None if network is None else as_network(network)
    series = series_of(discharge, river, SYSTEM, dt=dt)
    ids = whole_numbers(series.array["reach"].values, SYSTEM)
    if river is not None:
        rows = river.ids[upwards_first(river, downstream_of(river, SYSTEM))]
        ids = rows[within(rows, ids)]
    dataset, encoding = rapid_dataset("Qout", as_flux(series, river, "discharge"), series, ids, river, OUTFLOW, dtype)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


def write_state(state: Any, path: PathLike, network: NetworkLike, *, time: Any = None, overwrite: bool = False) -> None:
    """Write a state, Q00 or Qfi: ``Qout(time, rivid)`` [m3 s-1] of one instant, float64, in the rows of ``con``.

    Parameters
    ----------
    state
        State of a run, as ``return_state=True`` gives it, or its path; or a snapshot of discharge (reach).
    path
        The netCDF file, usually ``Q00_*.nc4`` or ``Qfi_*.nc4``.
    network
        The network.
    time
        When it holds; by default when the state says.
    overwrite
        Replace what is at the path.

    Raises
    ------
    StateError
        For a state of another network, of several members, or that holds more than discharge.
    TimeAxisError
        If nobody knows when it holds.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import rapid_folder
    >>> from xroute.io import rapid2
    >>> folder = rapid_folder(tempfile.mkdtemp(), version=2, days=1)
    >>> network = rapid2.read_network(folder)
    >>> _, state = rapid2.read_runoff(folder, network).route(network, return_state=True)
    >>> rapid2.write_state(state, f"{folder}/Qfi_again.nc4", network)
    >>> bool((rapid2.read_state(f"{folder}/Qfi_again.nc4", network) == state.outflow).all())
    True
    """
    river = as_network(network)
    flow = snapshot_of(state, river, SYSTEM)[connect_rows(river)]
    dataset, encoding = state_dataset(flow, river, SYSTEM, time, INSTANT)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


def _write_tables(network: Network, folder: Path, name: str) -> None:
    ids = whole_numbers(network.ids, SYSTEM)
    below = downstream_of(network, SYSTEM)
    values = muskingum_of(network, SYSTEM)
    if compact(ids).dtype == np.int64:
        warn(f"ids up to {ids.max()} are written in 64 bits, and RAPID2 itself reads ids of 32 bits")
    rows = connect_rows(network)
    downstream = file_downstream(network, below, 0)
    riv = compact(ids)[rows]
    write_table({"riv": riv, "dwn": compact(downstream)[rows]}, folder / f"con_{name}.parquet")
    for column, letter in (("kpr", "k"), ("xpr", "x")):
        write_table({"riv": riv, column: values[letter][rows]}, folder / f"{column}_{name}.parquet")
    write_table({"riv": compact(ids)[upwards_first(network, below)]}, folder / f"bas_{name}.parquet")
    places = places_of(network)
    if places is not None and (np.isfinite(places[0]) & np.isfinite(places[1])).any():
        rows = rows[(np.isfinite(places[0]) & np.isfinite(places[1]))[rows]]
        columns = {"riv": compact(ids)[rows], "lon": places[0][rows], "lat": places[1][rows]}
        write_table(columns, folder / f"crd_{name}.parquet")


def _write(outgoing: Outgoing, folder: Path, /, *, name: str, dt: Any) -> None:
    files = {role: folder / f"{role}_{name}.nc4" for role in ("Qex", "Q00", "Qou", "Qfi")}
    if outgoing.network is None:
        if outgoing.discharge is None:
            raise NothingToWrite("runoff and states of RAPID2 lie in the rows of its network: give the network too")
        write_discharge(outgoing.discharge, files["Qou"], dt=dt)
        return
    network = as_network(outgoing.network)
    tell_recipe(network, SYSTEM)
    _write_tables(network, folder, name)
    first = outgoing.state is not None and is_first(outgoing, network, SYSTEM, dt)
    if outgoing.runoff is not None:
        write_runoff(outgoing.runoff, files["Qex"], network, dt=dt)
        series = series_of(outgoing.runoff, network, SYSTEM, what="runoff", whole=True, dt=dt)
        if first:
            write_state(outgoing.state, files["Q00"], network, time=series.starts[0])
        else:
            _write_dry(series, files["Q00"], network)
    elif first:
        write_state(outgoing.state, files["Q00"], network)
    if outgoing.state is not None and not first:
        write_state(outgoing.state, files["Qfi"], network)
    if outgoing.discharge is not None:
        write_discharge(outgoing.discharge, files["Qou"], network, dt=dt)
    write_text(_namelist(network, outgoing, name, dt), folder / f"nml_{name}.yml")


def _write_dry(series: Series, path: Path, network: Network) -> None:
    """The initial flow that RAPID2 asks for, of a river that is dry, as rivers are here where no state is given."""
    dry = xr.DataArray(np.zeros(network.n_reaches), {"reach": network.ids}, attrs={"units": "m3 s-1"})
    write_state(dry, path, network, time=series.starts[0])


def _namelist(network: Network, outgoing: Outgoing, name: str, dt: Any) -> list[str]:
    step = stated_seconds(network.attrs, "routing_step")
    array = outgoing.discharge if outgoing.runoff is None else outgoing.runoff
    if step is None:
        step = stated_seconds(network.attrs, "runoff_step")
    if step is None and array is not None:
        step = series_of(array, network, SYSTEM, dt=dt).step
    if step is not None and not step.is_integer():
        raise ParameterError(f"RAPID2 routes in whole seconds, and the routing step is {step:g} s: set attrs['routing_step']")
    values = {
        "Q00_ncf": f"Q00_{name}.nc4", "Qex_ncf": f"Qex_{name}.nc4",
        **{f"{table}_pqt": f"{table}_{name}.parquet" for table in ("con", "kpr", "xpr", "bas")},
        "IS_dtR": None if step is None else int(step), "Qou_ncf": f"Qou_{name}.nc4", "Qfi_ncf": f"Qfi_{name}.nc4",
    }  # fmt: skip
    return ["---", *(f"{key}: {value if isinstance(value, int) else repr(value)}" for key, value in values.items()
                     if value is not None)]  # fmt: skip


WRITER = Writer(
    "Write RAPID2's files: tables in Parquet, Qext, Q00, Qout, Qfi, and a namelist.",
    write=_write,
    needs=(("runoff", ("network",)), ("state", ("network",))),
    options=(
        ReaderOption("name", "What the files are called after: con_NAME.parquet, Qex_NAME.nc4.", default="xroute"),
        ReaderOption("dt", "Length of a step (seconds, or e.g. 3h), for series of a single time.", "step"),
    ),
)
