"""A whole set-up of the National Water Model, as ``xroute convert nwm`` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.io.nwm.files import FORCING_PATTERNS, LAKE_PATTERNS, NETWORK_PATTERNS, RESTART_PATTERNS, find_files
from xroute.io.nwm.network import read_network
from xroute.io.nwm.series import read_discharge, read_runoff
from xroute.io.nwm.state import read_state
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.snapshot import snapshot_state
from xroute.wording import argument

__all__ = ["READER"]


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    forcing: Sequence[Path] = (),
    variable: Sequence[str] = (),
    state_file: Path | None = None,
    discharge_file: Sequence[Path] = (),
    discharge_variable: str | None = None,
    dt: float | None = None,
    start: str | None = None,
) -> Setup:
    """Network of the first source; series of files that are named, of the other sources, or of the first one's folder."""
    places = list(forcing) or list(sources[1:]) or ([sources[0]] if sources[0].is_dir() else [])
    computed = find_files(sources[0]).get("discharge", []) if sources[0].is_dir() and not sources[1:] else []
    series = list(discharge_file) or computed or places
    if "runoff" in wanted and not places:
        raise NothingToRead(f"runoff needs the forcing: {argument('forcing')}, or a source folder that holds it")
    if "discharge" in wanted and not series:
        raise NothingToRead(f"discharge needs CHRTOUT files: {argument('discharge_file')}, or a source folder that holds them")
    network = read_network(sources[0])
    runoff = discharge = state = None
    times: dict[str, Any] = {"start": start, "dt": dt}
    if "runoff" in wanted:
        runoff = read_runoff(places, network, variable=variable or None, **times).to_dataset()
    if "discharge" in wanted:
        named: dict[str, Any] = {} if discharge_variable is None else {"variable": discharge_variable}
        discharge = read_discharge(series, network, **named, **times).to_dataset()
    if "state" in wanted:
        state = _state(sources[0], state_file, network, runoff, dt)
    return Setup(network, runoff, state, discharge)


def _state(source: Path, file: Path | None, network: xr.Dataset, runoff: xr.Dataset | None, dt: float | None) -> xr.Dataset:
    found: Any = file or (find_files(source).get("state") if source.is_dir() else None)
    if found is None or isinstance(found, list):
        raise NothingToRead(
            f"a state needs one restart, HYDRO_RST, and {source} has {len(found) if found else 'none'}: {argument('state_file')}"
        )
    return snapshot_state(network, read_state(found, network), None if runoff is None else runoff["runoff"], dt)


READER = Reader(
    "Convert the National Water Model: a folder with RouteLink and CHRTOUT files, or a RouteLink file.",
    read=_read,
    find=lambda folder, options: find_files(folder),
    patterns=(*NETWORK_PATTERNS, *FORCING_PATTERNS, *RESTART_PATTERNS, *LAKE_PATTERNS, "*.CHRTOUT_DOMAIN*.csv"),
    products=("network", "runoff", "state", "discharge"),
    options=(
        ReaderOption("forcing", "CHRTOUT files, a folder or a store of them, when not in SOURCE.", "file", several=True),
        ReaderOption("variable", "Forcing variable; several are added up.", several=True),
        ReaderOption("state_file", "Restart (HYDRO_RST), when not in SOURCE.", "file"),
        ReaderOption("discharge_file", "Files with streamflow, when neither in output nor the forcing.", "file", several=True),
        ReaderOption("discharge_variable", "Variable of discharge.  [default: streamflow]"),
        ReaderOption("dt", "Step (seconds, or e.g. 1h), for tables whose columns are counted, and for a state.", "step"),
        ReaderOption("start", "First time, for tables whose columns are counted."),
    ),
)
