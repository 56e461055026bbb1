"""The way back to mizuRoute: a namelist, a control file, and a folder with all that a run needs."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.bounds import LABELS
from xroute.exceptions import ParameterError, XRouteError, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.io.mizuroute.network import DEFAULT_PARAMETERS, INSTANT
from xroute.io.mizuroute.restart import is_instant
from xroute.io.mizuroute.results import write_state
from xroute.io.mizuroute.writing import calendar_of, write_network, write_runoff, write_weights
from xroute.network import Network
from xroute.network_files import as_network
from xroute.settings import Label
from xroute.stamps import is_dated
from xroute.times import read_clock
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["write_control", "write_parameters", "write_setup"]

CONTROL = "run.control"
NAMES = {
    "network": "topology.nc", "parameters": "param.nml", "runoff": "runoff.nc", "weights": "remap.nc", "state": "restart.nc",
}  # fmt: skip
"""Files of a folder, by the part they play."""
MANNING, WIDTH = 0.01, 0.001
"""Of the namelist's group KWT, which mizuRoute reads and IRF makes no use of: its own defaults."""


def write_parameters(network: Any, path: PathLike, *, overwrite: bool = False) -> None:
    """Write the namelist of parameters (``param.nml``), of a network with ``celerity`` and ``diffusivity``.

    Parameters
    ----------
    network
        Network with one ``celerity`` and one ``diffusivity``, and one ``fshape`` and ``tscale`` where hillslopes are routed.
    path
        Where to write.
    overwrite
        Replace what is at the path.

    Raises
    ------
    ParameterError
        If it has none, or several values of one.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import mizuroute
    >>> river = xroute.Network.from_links([1, 2], [2, 0], parameters={"celerity": 1.5, "diffusivity": 5000.0})
    >>> path = tempfile.mkdtemp() + "/param.nml"
    >>> mizuroute.write_parameters(river, path)
    >>> mizuroute.read_parameters(path)["velo"]
    1.5
    """
    values = _parameters(as_network(network))
    text = (
        f"&HSLOPE\n  fshape = {values['fshape']!r}\n  tscale = {values['tscale']!r}\n/\n"
        f"&IRF_UH\n  velo   = {values['velo']!r}\n  diff   = {values['diff']!r}\n/\n"
        f"&KWT\n  mann_n = {MANNING!r}\n  wscale = {WIDTH!r}\n/\n"
    )
    _put(text, path, overwrite)


def _put(text: str, path: PathLike, overwrite: bool) -> None:
    with writing(f"write {path}", target=path), replacing(path, overwrite=overwrite) as draft:
        draft.write_text(text, encoding="utf-8")


def _parameters(network: Network) -> dict[str, float]:
    """Parameters by mizuRoute's names."""
    ours = {
        "velo": ("celerity", "m s-1"), "diff": ("diffusivity", "m2 s-1"), "fshape": ("fshape", "1"), "tscale": ("tscale", "s"),
    }  # fmt: skip
    found = dict(DEFAULT_PARAMETERS)
    for name, (variable, units) in ours.items():
        if variable not in network.dataset:
            if name in ("velo", "diff"):
                raise ParameterError(
                    f"mizuRoute's impulse response function needs {variable!r}, and the network has none: assign it, or take "
                    "estimate_parameters(network, 'hayami')"
                )
            continue
        values = np.unique(to_si(network.dataset[variable], units, variable))
        if values.size != 1:
            raise ParameterError(
                f"{variable!r} has {values.size} values ({some(values, 3)}), and mizuRoute's namelist has one {name} for all "
                "segments: take one"
            )
        found[name] = float(values[0])
    if found["tscale"] <= INSTANT:
        found.update(fshape=DEFAULT_PARAMETERS["fshape"], tscale=DEFAULT_PARAMETERS["tscale"])
    return found


def write_control(
    network: Any,
    path: PathLike,
    *,
    runoff: xr.DataArray | None = None,
    files: Mapping[str, str] | None = None,
    case_name: str = "xroute",
    units: str = "m/s",
    dt: Any = None,
    label: Label | None = None,
    overwrite: bool = False,
) -> None:
    """Write a control file of a run with the impulse response function.

    Parameters
    ----------
    network
        Network, whose attributes say whether hillslopes are routed.
    path
        Where to write. Folders are those of the control file.
    runoff : (time, ...)
        Its times say when the simulation begins and ends, and its step is that of the simulation, unless the network has a
        ``routing_step``.
    files
        Names by part: ``network``, ``parameters``, ``runoff``, and if there are any ``weights`` and ``state``.
    case_name
        Name of the run, with which those of its output begin.
    units
        Units of the runoff's file; `write_runoff` has ``"m/s"``.
    dt, label
        Step [s], and what a time is of its step, where the runoff does not tell.
    overwrite
        Replace what is at the path.

    Raises
    ------
    XRouteError
        If neither runoff nor network tell the step.
    FileExistsError
        There is something at the path and ``overwrite`` is False.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import mizuroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/run.control"
    >>> mizuroute.write_control(network, path, runoff=ds.runoff)
    >>> any(line.split()[:2] == ["<dt_qsim>", "3600"] for line in open(path))
    True
    """
    river = as_network(network)
    named = {k: v for k, v in NAMES.items() if k in ("network", "parameters", "runoff")} if files is None else dict(files)
    stated = river.attrs.get("routing_step")
    step, of_runoff, start, last = stated, None, None, None
    if runoff is not None:
        clock = read_clock(runoff, "time", dt, label)
        of_runoff, step, early = clock.step, stated or clock.step, LABELS[clock.label or "start"]
        if of_runoff is not None and step is not None and is_dated(runoff["time"]):
            start = _date(runoff["time"].values[0], -early * of_runoff)
            last = _date(runoff["time"].values[-1], (1 - early) * of_runoff - float(step))
    if step is None:
        raise XRouteError(f"the simulation's step is not known: give runoff, or {argument('dt')}")
    hillslope = river.attrs.get("hillslope", "none")
    if hillslope not in ("none", "gamma", "gamma-mizuroute"):
        raise ParameterError(f"mizuRoute's hillslopes are gamma distributions, and the network's 'hillslope' is {hillslope!r}")
    slopes = hillslope != "none" and not is_instant(river)
    rows = [
        ("ancil_dir", "./", "folder of network, weights and namelist"), ("input_dir", "./", "folder of runoff"),
        ("output_dir", "./", "folder of output"), ("case_name", case_name, "name of the run"),
        ("sim_start", start, "beginning of the first step"), ("sim_end", last, "beginning of the last step"),
        ("dt_qsim", f"{step:g}", "step of the simulation [s]"), ("route_opt", "1", "impulse response function"),
        ("doesBasinRoute", str(int(slopes)), "gamma unit hydrograph of hillslopes"),
        ("hw_drain_point", "1" if "headwater_length" in river.dataset else "2", "where runoff of headwaters joins"),
        ("fname_ntopOld", named.get("network"), "segments and HRUs"), ("fname_qsim", named.get("runoff"), "runoff"),
        ("units_qsim", units, "units of runoff"),
        ("dt_ro", None if of_runoff is None else f"{of_runoff:g}", "step of runoff [s]"),
        ("is_remap", "T" if named.get("weights") else "F", "whether runoff is brought to HRUs by weights"),
        ("fname_remap", named.get("weights"), "weights"), ("param_nml", named.get("parameters"), "namelist of parameters"),
        ("fname_state_in", named.get("state"), "restart file"),
        ("restart_dir", "./" if named.get("state") else None, "its folder"),
        ("outputFrequency", "1", "steps of the simulation in one of output"), ("newFileFrequency", "single", "one history file"),
    ]  # fmt: skip
    lines = [f"{f'<{tag}>':<20} {value:<28} ! {comment}" for tag, value, comment in rows if value is not None]
    _put("\n".join(["! mizuRoute control file, written by xroute", *lines]) + "\n", path, overwrite)


def _date(stamp: Any, seconds: float) -> str:
    """A date so many seconds after a stamp, as control files have it."""
    micro = datetime.timedelta(microseconds=round(seconds * 1e6))
    late = stamp.astype("datetime64[us]") + np.timedelta64(micro) if isinstance(stamp, np.datetime64) else stamp + micro
    return str(late).replace("T", " ").partition(".")[0]


def write_setup(
    folder: PathLike, network: Any, runoff: xr.DataArray, *, weights: xr.Dataset | None = None, state: Any = None,
    case_name: str = "xroute", dt: Any = None, label: Label | None = None, overwrite: bool = False,
) -> Path:  # fmt: skip
    """Write all that mizuRoute needs for a run: network, namelist, runoff, and the control file that names them.

    Parameters
    ----------
    folder
        Where to write; it is made if there is none.
    network
        Network with ``length``, ``slope``, ``area``, and parameters of the impulse response function.
    runoff : (time, reach)
        In any units that `xroute.route` takes.
    weights
        Of a grid, to be written beside; runoff is written for HRUs all the same.
    state
        State to start from, written as a restart file.
    case_name, dt, label, overwrite
        As for `write_control`.

    Returns
    -------
    pathlib.Path
        The control file.

    Raises
    ------
    XRouteError
        As the writers do.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> setup = mizuroute.read_setup(folder)
    >>> mizuroute.write_setup(folder / "home", setup.network, setup.runoff["runoff"]).name
    'run.control'
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    given = {"weights": weights, "state": state}
    parts = {"network", "parameters", "runoff"} | {part for part, value in given.items() if value is not None}
    existing = [name for name in (CONTROL, *(NAMES[part] for part in parts)) if (place / name).exists()]
    if existing and not overwrite:
        raise FileExistsError(f"{place} holds {some(existing)} already; {argument('overwrite', True)} replaces them")
    with tempfile.TemporaryDirectory(prefix=".mizuroute-", dir=place) as name:  # all of them, or none
        draft = Path(name)
        write_network(network, draft / NAMES["network"])
        write_parameters(network, draft / NAMES["parameters"])
        write_runoff(runoff, draft / NAMES["runoff"], network, dt=dt, label=label)
        if weights is not None:
            write_weights(weights, draft / NAMES["weights"], network)
        if state is not None:
            write_state(state, draft / NAMES["state"], network, calendar=calendar_of(runoff["time"]))
        files = {part: name for part, name in NAMES.items() if part in parts and part != "weights"}
        write_control(network, draft / CONTROL, runoff=runoff, files=files, case_name=case_name, dt=dt, label=label)
        for file in draft.iterdir():
            file.replace(place / file.name)
    return place / CONTROL
