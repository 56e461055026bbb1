"""A whole set-up of RAPID or RAPID2, read before any of it is written: network, runoff and initial state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import TimeAxisError, XRouteError
from xroute.io import rapid, rapid2
from xroute.recipe import step_of
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["Setup", "find_setup", "read_setup"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Setup:
    """What a set-up holds.

    Attributes
    ----------
    network, runoff, state : xarray.Dataset
        As `xroute.route` takes them; None for what was not asked for.
    """

    network: xr.Dataset
    runoff: xr.Dataset | None
    state: xr.Dataset | None


def find_setup(source: PathLike, namelist: PathLike | None = None) -> dict[str, Path]:
    """Files of a folder or namelist by role, of RAPID2 or RAPID as their content tells.

    Raises
    ------
    XRouteError
        When several files could play the same role.
    """
    return rapid2.find_files(source) if rapid2.is_rapid2(source) else rapid.find_files(source, namelist)


def read_setup(
    sources: Sequence[PathLike],
    *,
    k: PathLike | None = None,
    x: PathLike | None = None,
    basin_ids: PathLike | None = None,
    namelist: PathLike | None = None,
    coordinates: PathLike | None = None,
    routing_step: Any = None,
    runoff: bool | Sequence[PathLike] = True,
    variable: str | None = None,
    dt: Any = None,
    start: Any = None,
    state: bool | PathLike = False,
) -> Setup:
    """Read a set-up of RAPID or RAPID2.

    Parameters
    ----------
    sources
        A folder, a connectivity file, or a namelist of RAPID2; or several folders of RAPID, one a region.
    k, x, basin_ids, namelist, coordinates, routing_step
        As for `xroute.io.rapid.read_network`.
    runoff
        Whether to read the runoff; or its files, in place of those of ``sources``.
    variable
        Name of the runoff; by default ``m3_riv``, and ``Qext`` of RAPID2.
    dt, start
        As for `xroute.io.rapid.read_runoff`; ``dt`` may be text like ``"3h"``.
    state
        Whether to read the initial flow (Qinit where RAPID's namelist has it read, Q00 of RAPID2) and make a state of it; or
        its file.

    Returns
    -------
    Setup

    Raises
    ------
    XRouteError
        As the readers do; then nothing has been written.

    Examples
    --------
    >>> from xroute.io.rapid_setup import read_setup
    >>> setup = read_setup(["rapid2_folder"], state=True)  # doctest: +SKIP
    >>> runoff = setup.runoff["runoff"]  # doctest: +SKIP
    >>> discharge = runoff.route(setup.network, initial_state=setup.state)  # doctest: +SKIP
    """
    places = [Path(source) for source in sources]
    step = None if dt is None else seconds(dt)
    of_python = [rapid2.is_rapid2(place) for place in places]
    reader: Any = rapid2 if any(of_python) else rapid
    if any(of_python) and len(places) > 1:
        raise XRouteError("RAPID2 is read one set-up at a time; regions to be joined are folders of RAPID")
    one = places[0] if len(places) == 1 else places
    if reader is rapid2 and namelist is not None:
        raise XRouteError("the namelist of RAPID2 is given in place of its folder")
    options: dict[str, Any] = {"coordinates": coordinates, "routing_step": routing_step}
    if namelist is not None:
        options["namelist"] = namelist
    network = reader.read_network(one, k, x, basin_ids, **options)
    series = None
    if runoff is not False:
        folders = [place if place.is_dir() or reader is rapid2 else place.parent for place in places]
        files = folders if runoff is True else [Path(file) for file in runoff]
        if runoff is True and namelist is not None and len(places) == 1 and places[0].is_dir():
            files = [find_setup(places[0], namelist).get("runoff", places[0])]
        name = variable or ("Qext" if reader is rapid2 else "m3_riv")
        if reader is rapid2 and len(files) == 1:
            files = [rapid2.resolve(files[0], "runoff")]
        series = rapid.read_runoff(files, network, dt=step, start=start, variable=name)
    begin = None
    if state is not False:
        begin = _state(reader, places, namelist, network, series, step, state)
    return Setup(network, None if series is None else series.to_dataset(), begin)


def _state(
    reader: Any,
    places: Sequence[Path],
    namelist: PathLike | None,
    network: xr.Dataset,
    runoff: xr.DataArray | None,
    step: float | None,
    state: bool | PathLike,
) -> xr.Dataset:
    from xroute.network import Network
    from xroute.spinup import initial_state

    if not isinstance(state, bool):
        file = Path(state)
    elif len(places) > 1:
        raise XRouteError(
            f"several regions have an initial flow each: name one file that holds all of them ({argument('state')})"
        )
    else:
        found = find_setup(places[0], namelist) if places[0].is_dir() or reader is rapid2 else {}
        if "state" not in found:
            raise XRouteError(
                f"no initial flow in {places[0]}: RAPID's namelist does not name one that is there and is to be read "
                f"(BS_opt_Qinit, Qinit_file; Q00_ncf of RAPID2). Name the file ({argument('state')}), or leave the state out "
                "for a dry start"
            )
        file = found["state"]
    snapshot = reader.read_state(file, network)
    rivers = Network(network)
    if step is None and runoff is not None:
        step = step_of(runoff, "time", rivers)
    if step is None and "runoff_step" not in network.attrs:
        raise TimeAxisError(
            f"a state is of a routing step, and the step of runoff is not known: read the runoff too, or give {argument('dt')}"
        )
    made = initial_state(rivers, snapshot, dt=step)
    if "time" in snapshot.attrs:
        made.attrs["time"] = snapshot.attrs["time"]
    return made
