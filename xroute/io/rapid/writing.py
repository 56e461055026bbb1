"""Write RAPID's files: its tables, runoff, discharge and flow of an instant, and the namelist that names them.

RAPID reads by position: ``k.csv``, ``x.csv``, runoff and initial flow are written in the rows of ``rapid_connect.csv``, and
discharge in those of ``riv_bas_id.csv``, as RAPID writes it. Layouts are those of RAPID's own sources
(``rapid_create_Qout_file``, ``rapid_create_Qfinal_file``, ``rapid_meta_Vlat_file``).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import warn
from xroute.files.folders import filled_folder
from xroute.files.opening import PathLike
from xroute.files.writing import write_netcdf, write_text
from xroute.ids import exact_ids, within
from xroute.io.layout_series import as_flux, is_first, series_of, snapshot_of
from xroute.io.layouts import downstream_of, muskingum_of, places_of, upwards_first, whole_numbers
from xroute.io.rapid.frames import rapid_dataset, state_dataset
from xroute.io.reader import ReaderOption
from xroute.io.writer import NothingToWrite, Outgoing, Writer
from xroute.network import Network
from xroute.network_files import as_network
from xroute.recipe import stated_seconds
from xroute.request import NetworkLike
from xroute.settings import RoutingSettings

__all__ = [
    "WRITER", "connect_rows", "file_downstream", "tell_recipe", "write_discharge", "write_network", "write_runoff", "write_state",
]  # fmt: skip

logger = logging.getLogger(__name__)

WIDEST = 2**31 - 1
RUNOFF = {"long_name": "accumulated external water volume inflow upstream of each river reach", "units": "m3",
          "cell_methods": "time: sum"}  # fmt: skip
DISCHARGE = {"long_name": "average river water discharge downstream of each river reach", "units": "m3 s-1",
             "cell_methods": "time: mean"}  # fmt: skip
INSTANT = {"long_name": "instantaneous river water discharge downstream of each river reach", "units": "m3 s-1",
           "cell_methods": "time: point"}  # fmt: skip


def write_network(network: NetworkLike, folder: PathLike, *, overwrite: bool = False) -> None:
    """Write RAPID's tables: ``rapid_connect.csv``, ``k.csv``, ``x.csv``, ``riv_bas_id.csv``, and ``coords.csv`` if it has places.

    Parameters
    ----------
    network
        Network of Muskingum reaches, a tree or several, with ids from 1 on. Rows of ``rapid_connect.csv`` are in the order of
        ``connect_row`` where the network has it (`read_network` gives it), else in the network's own; ``riv_bas_id.csv`` is
        from upstream to downstream, as RAPID wants it.
    folder
        Where to write; made if it is not there.
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
    >>> from xroute.io import rapid
    >>> network = rapid.read_network(rapid_folder(tempfile.mkdtemp(), days=1))
    >>> folder = tempfile.mkdtemp()
    >>> rapid.write_network(network, folder)
    >>> rapid.read_network(folder).k.identical(network.k)
    True
    """
    with filled_folder(folder, overwrite) as draft:
        _write_tables(as_network(network), draft)


def write_runoff(
    runoff: xr.DataArray, path: PathLike, network: NetworkLike, *, dt: Any = None, dtype: Any = None, overwrite: bool = False
) -> None:
    """Write runoff as RAPID reads it: ``m3_riv(time, rivid)`` [m3 of each step], in the rows of ``rapid_connect.csv``.

    Parameters
    ----------
    runoff : (time, reach)
        Of all reaches of the network, in any order, in any units that `route` takes.
    path
        The netCDF file, usually ``m3_riv*.nc``.
    network
        The network, whose rows the file follows, and whose areas depths are multiplied by.
    dt
        Length of a step [s], a timedelta, or text like ``"3h"``; for a single time.
    dtype
        Type of the numbers; that of the runoff by default. RAPID's own files have ``"float32"``.
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
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> network = rapid.read_network(folder)
    >>> runoff = rapid.read_runoff(folder, network)
    >>> rapid.write_runoff(runoff, f"{folder}/again.nc", network)
    >>> rapid.read_runoff(f"{folder}/again.nc", network).equals(runoff)
    True
    """
    river = as_network(network)
    series = series_of(runoff, river, "RAPID", what="runoff", whole=True, dt=dt)
    ids = whole_numbers(river.ids, "RAPID")[connect_rows(river)]
    array = as_flux(series, river, "runoff", per_step=True)
    dataset, encoding = rapid_dataset("m3_riv", array, series, ids, river, RUNOFF, dtype)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


def write_discharge(
    discharge: xr.DataArray, path: PathLike, network: NetworkLike | None = None, *, dt: Any = None, dtype: Any = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write discharge as RAPID does: ``Qout(time, rivid)`` [m3 s-1] with ``time_bnds``, for whatever reads RAPID's results.

    Parameters
    ----------
    discharge : (time, reach)
        Of all reaches or some, in any units of a volume flux.
    path
        The netCDF file, usually ``Qout*.nc``.
    network
        For the order of ``riv_bas_id.csv``, and places; without it the order is that of the discharge.
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
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> network = rapid.read_network(folder)
    >>> discharge = rapid.read_runoff(folder, network).route(network)
    >>> rapid.write_discharge(discharge, f"{folder}/routed.nc", network)
    >>> rapid.read_discharge(f"{folder}/routed.nc", network).equals(discharge)
    True
    """
    river = None if network is None else as_network(network)
    series = series_of(discharge, river, "RAPID", dt=dt)
    ids = whole_numbers(series.array["reach"].values, "RAPID")
    if river is not None:
        rows = river.ids[upwards_first(river, downstream_of(river, "RAPID"))]
        ids = rows[within(rows, ids)]
    dataset, encoding = rapid_dataset("Qout", as_flux(series, river, "discharge"), series, ids, river, DISCHARGE, dtype)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


def write_state(
    state: Any, path: PathLike, network: NetworkLike, *, time: Any = None, overwrite: bool = False
) -> None:
    """Write the flow of an instant, Qinit or Qfinal: ``Qout(time, rivid)`` [m3 s-1], float64, in the rows of the connectivity.

    Parameters
    ----------
    state
        State of a run, as ``return_state=True`` gives it, or its path; or a snapshot of discharge (reach).
    path
        The netCDF file; or ``*.csv`` for the values alone, as older versions of RAPID read them.
    network
        The network.
    time
        When it holds; by default when the state says. A csv has no time.
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
    >>> from xroute.io import rapid
    >>> folder = rapid_folder(tempfile.mkdtemp(), days=1)
    >>> network = rapid.read_network(folder)
    >>> _, state = rapid.read_runoff(folder, network).route(network, return_state=True)
    >>> rapid.write_state(state, f"{folder}/Qfinal.nc", network)
    >>> bool((rapid.read_state(f"{folder}/Qfinal.nc", network) == state.outflow).all())
    True
    """
    river = as_network(network)
    flow = snapshot_of(state, river, "RAPID")[connect_rows(river)]
    if Path(path).suffix.lower() == ".csv":
        write_text((repr(value) for value in flow.values.tolist()), path, overwrite=overwrite)
        return
    dataset, encoding = state_dataset(flow, river, "RAPID", time, INSTANT)
    write_netcdf(dataset, path, encoding=encoding, unlimited=["time"], overwrite=overwrite)


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def connect_rows(network: Network) -> NDArray[np.int64]:
    """Reaches in the rows of the connectivity file: those that the network was read from, or its own."""
    dataset = network.dataset
    if "connect_row" not in dataset.variables:
        return np.arange(network.n_reaches)
    region = dataset["region"].values if "region" in dataset.variables else np.zeros(network.n_reaches)
    return np.asarray(np.lexsort((dataset["connect_row"].values, region)))


def file_downstream(network: Network, below: NDArray[np.int64], outlet: int) -> NDArray[np.int64]:
    """Id downstream of each reach, as it stands in a file: what stood there when it was read, where a reach is an outlet."""
    ids = network.ids
    found = np.where(below >= 0, ids[below], outlet)
    dataset = network.dataset
    if "downstream_id" in dataset.variables:
        before = exact_ids(dataset["downstream_id"].values, "downstream_id")
        kept = (below < 0) & ~within(before, ids)
        found = np.where(kept, before, found)
    return found


def _write_tables(network: Network, folder: Path) -> None:
    ids = whole_numbers(network.ids, "RAPID")
    below = downstream_of(network, "RAPID")
    values = muskingum_of(network, "RAPID")
    if ids.size and ids.max() > WIDEST:
        warn(f"ids up to {ids.max()} are written, and RAPID reads them only where its integers have 64 bits")
    downstream = file_downstream(network, below, 0)
    rows = connect_rows(network)
    up, down = np.flatnonzero(below >= 0), below[below >= 0]
    up = up[np.argsort(down, kind="stable")]
    count = np.bincount(down, minlength=ids.size)
    ends = np.cumsum(count)
    width = int(count.max(initial=0))

    def line(i: int) -> str:
        above = ids[up[ends[i] - count[i] : ends[i]]].tolist()
        return ",".join(map(str, (ids[i], downstream[i], count[i], *above, *[0] * (width - len(above)))))

    write_text((line(i) for i in rows), folder / "rapid_connect.csv")
    for name, numbers in values.items():
        write_text(map(repr, numbers[rows].tolist()), folder / f"{name}.csv")
    write_text(map(str, ids[upwards_first(network, below)].tolist()), folder / "riv_bas_id.csv")
    places = places_of(network)
    if places is not None:
        known = [i for i in rows if np.isfinite(places[0][i]) and np.isfinite(places[1][i])]
        lines = (f"{ids[i]},{places[0][i].item()!r},{places[1][i].item()!r}" for i in known)
        write_text(lines, folder / "coords.csv")


# ── a whole set-up ────────────────────────────────────────────────────────────────────────────────────────────────────


OWN_WAY = {"lateral": "interval", "sampling": "start-mean"}
"""How RAPID routes and samples."""


def tell_recipe(network: Network, system: str) -> None:
    """Say where a network wants to be routed otherwise than the system will."""
    plain = RoutingSettings()
    here = {name: network.attrs.get(name, getattr(plain, name)) for name in OWN_WAY}
    other = [f"{name} {value}" for name, value in here.items() if value != OWN_WAY[name]]
    if other:
        logger.info(
            "%s routes with lateral interval and sampling start-mean, and this network is routed here with %s: its discharge "
            "will differ by that", system, ", ".join(other),
        )  # fmt: skip


def _write(outgoing: Outgoing, folder: Path, /, *, name: str, dt: Any) -> None:
    if outgoing.network is None:
        if outgoing.discharge is None or outgoing.runoff is not None or outgoing.state is not None:
            raise NothingToWrite("runoff and states of RAPID lie in the rows of its network: give the network too")
        write_discharge(outgoing.discharge, folder / f"Qout_{name}.nc", dt=dt)
        return
    network = as_network(outgoing.network)
    tell_recipe(network, "RAPID")
    _write_tables(network, folder)
    stated: dict[str, Any] = {}
    if outgoing.runoff is not None:
        stated["Vlat_file"] = f"m3_riv_{name}.nc"
        write_runoff(outgoing.runoff, folder / stated["Vlat_file"], network, dt=dt)
        series = series_of(outgoing.runoff, network, "RAPID", what="runoff", whole=True, dt=dt)
        stated |= {"ZS_TauR": series.step, "ZS_TauM": series.step * series.bounds.shape[0], "ZS_dtM": series.step}
    if outgoing.state is not None:
        first = is_first(outgoing, network, "RAPID", dt)
        role = "Qinit_file" if first else "Qfinal_file"
        stated |= {"BS_opt_Qinit": first, role: f"{role.removesuffix('_file')}_{name}.nc"}
        write_state(outgoing.state, folder / stated[role], network)
    stated["Qout_file"] = f"Qout_{name}.nc"
    if outgoing.discharge is not None:
        write_discharge(outgoing.discharge, folder / stated["Qout_file"], network, dt=dt)
    write_text(_namelist(network, stated, name), folder / "rapid_namelist")


def _namelist(network: Network, stated: dict[str, Any], name: str) -> list[str]:
    """A namelist of a regular run, with the entries that such a run reads."""
    below = downstream_of(network, "RAPID")
    step = stated.get("ZS_TauR") or stated_seconds(network.attrs, "runoff_step")
    routing = stated_seconds(network.attrs, "routing_step") or step
    values: dict[str, Any] = {
        "BS_opt_Qinit": False, "BS_opt_Qfinal": True, "BS_opt_dam": False, "BS_opt_for": False, "BS_opt_hum": False,
        "BS_opt_influence": False, "BS_opt_V": False, "BS_opt_uq": False,
        "IS_opt_routing": 1, "IS_opt_run": 1, "IS_opt_phi": 1,
        "ZS_TauM": None, "ZS_dtM": None, "ZS_TauR": step, "ZS_dtR": routing,
        "IS_riv_tot": network.n_reaches, "rapid_connect_file": "rapid_connect.csv",
        "IS_max_up": int(np.bincount(below[below >= 0], minlength=1).max(initial=1)) or 1,
        "Vlat_file": "", "IS_riv_bas": network.n_reaches, "riv_bas_id_file": "riv_bas_id.csv",
        "k_file": "k.csv", "x_file": "x.csv", "Qinit_file": "", "Qfinal_file": f"Qfinal_{name}.nc", "Qout_file": "",
    } | stated  # fmt: skip
    return ["&NL_namelist", *(f"{n:<18} = {_fortran(v)}" for n, v in values.items() if v is not None), "/"]


def _fortran(value: Any) -> str:
    if isinstance(value, bool):
        return f".{str(value).lower()}."
    if isinstance(value, str):
        return f"'{value}'"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


WRITER = Writer(
    "Write RAPID's files: tables, m3_riv, Qinit, Qout, and a namelist.",
    write=_write,
    needs=(("runoff", ("network",)), ("state", ("network",))),
    options=(
        ReaderOption("name", "What the files are called after: m3_riv_NAME.nc, Qout_NAME.nc.", default="xroute"),
        ReaderOption("dt", "Length of a step (seconds, or e.g. 3h), for series of a single time.", "step"),
    ),
)
