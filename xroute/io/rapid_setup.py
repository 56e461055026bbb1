"""A whole set-up of RAPID or RAPID2, read before any of it is written: network, runoff, initial state and discharge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError
from xroute.files.opening import PathLike
from xroute.io import rapid, rapid2
from xroute.io.rapid.folder import PATTERNS
from xroute.io.reader import Product, Reader, ReaderOption, Setup
from xroute.io.snapshot import snapshot_state
from xroute.times import seconds
from xroute.wording import argument

__all__ = ["READER", "Setup", "find_setup", "read_setup"]


def find_setup(source: PathLike, namelist: PathLike | None = None) -> dict[str, Path]:
    """Files of a folder or namelist by role, of RAPID2 or RAPID as their content tells."""
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
    return snapshot_state(network, reader.read_state(file, network), runoff, step)


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    runoff_file: Sequence[Path],
    state_file: Path | None,
    discharge_file: Path | None,
    dt_routing: str | None,
    **options: Any,
) -> Setup:
    runoff, state = "runoff" in wanted and (runoff_file or True), "state" in wanted and (state_file or True)
    setup = read_setup(sources, runoff=runoff, state=state, routing_step=dt_routing, **options)
    if "discharge" not in wanted:
        return setup
    found = _discharge(sources, setup.network, options["namelist"], discharge_file, dt=options["dt"], start=options["start"])
    return replace(setup, discharge=found)


def _discharge(
    places: Sequence[Path], network: xr.Dataset, namelist: Path | None, file: Path | None, **times: Any
) -> xr.Dataset:
    """What RAPID or RAPID2 computed (Qout), to compare with."""
    of_python = rapid2.is_rapid2(places[0])
    if file is None and len(places) > 1:
        raise XRouteError(
            f"several regions have a discharge each: name one file that holds all of them ({argument('discharge_file')})"
        )
    if file is None:
        file = find_setup(places[0], namelist).get("discharge") if places[0].is_dir() or of_python else None
    if file is None:
        raise XRouteError(f"no discharge of RAPID's own (Qout) in {places[0]}: name its file ({argument('discharge_file')})")
    if of_python:
        return rapid2.read_discharge(file, network).to_dataset()
    return rapid.read_discharge(file, network, **times).to_dataset()


READER = Reader(
    "Convert RAPID or RAPID2: a folder (RAPID: or several, one a region), a connectivity file, or RAPID2's namelist.",
    read=_read,
    find=lambda folder, options: find_setup(folder, options["namelist"]),
    patterns=(*(pattern for patterns in PATTERNS.values() for pattern in patterns), "*.parquet", "Q*.nc*", "coords*.csv"),
    products=("network", "runoff", "state", "discharge"),
    options=(
        ReaderOption("k", "k.csv, when SOURCE is a connectivity file.", "file"),
        ReaderOption("x", "x.csv, when SOURCE is a connectivity file.", "file"),
        ReaderOption("basin_ids", "riv_bas_id.csv, when SOURCE is a connectivity file.", "file"),
        ReaderOption("runoff_file", "Runoff file, one a region, under an unusual name.", "file", several=True),
        ReaderOption("state_file", "Initial flow (Qinit, Q00), when the namelist does not name it.", "file"),
        ReaderOption("discharge_file", "RAPID's own discharge (Qout), when it is not in SOURCE.", "file"),
        ReaderOption("namelist", "RAPID's namelist, when SOURCE has several or none.", "file"),
        ReaderOption("coordinates", "Table of id, lon, lat, when it has an unusual name.", "file"),
        ReaderOption("variable", "Runoff variable.  [default: m3_riv; RAPID2: Qext]"),
        ReaderOption("dt", "Runoff step (seconds, or e.g. 3h), when neither file nor namelist tells.", "step"),
        ReaderOption("dt_routing", "Routing step (seconds, or e.g. 15min), when no namelist tells."),
        ReaderOption("start", "Start of the first step, such as 2002-08-30, when the file has no dates."),
    ),
    reads_beside=lambda options: not options["runoff_file"],
)
