"""A whole set-up of NextGen, as ``xroute convert nextgen`` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xroute.exceptions import XRouteError
from xroute.io.nextgen.forcing import BY, CATCHMENTS, FLOW, NEXUSES, SHARES, STEPS, find_forcing, read_runoff
from xroute.io.nextgen.network import find_hydrofabric, is_hydrofabric, read_network
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.troute.series import OUTPUTS, find_outputs, read_discharge
from xroute.settings import EXTRA, MISSING
from xroute.wording import argument

__all__ = ["READER", "find_series"]

FOLDERS = ("", "outputs/ngen", "outputs", "output", "channel_forcing", "forcing")
RESULTS = ("", "outputs/troute", "outputs", "output")
"""Folders in which series are looked for."""


def find_series(folder: Path) -> tuple[Path | None, list[Path]]:
    """The folder in or under this one that has inflow, and the files of t-route's discharge."""
    inflow = next((folder / name for name in FOLDERS if (folder / name).is_dir() and find_forcing(folder / name)), None)
    results = next((files for name in RESULTS if (files := find_outputs(folder / name))), [])
    return inflow, results


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path | Sequence[Path]]:
    try:
        found: dict[str, Any] = {"network": find_hydrofabric(folder)}
    except FileNotFoundError:
        return {}
    inflow, results = find_series(folder)
    if inflow is None and not results and not is_hydrofabric(found["network"]):
        return {}
    if inflow is not None:
        found |= find_forcing(inflow)
    return found | ({"discharge": results} if results else {})


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    forcing: Sequence[Path] = (),
    discharge_file: Sequence[Path] = (),
    start: str | None = None,
    dt: float | None = None,
    **options: Any,
) -> Setup:
    inflow, results = find_series(sources[0]) if sources[0].is_dir() else (None, [])
    places = list(forcing) or list(sources[1:]) or ([] if inflow is None else [inflow])
    series = list(discharge_file) or results
    if "runoff" in wanted and not places:
        raise NothingToRead(f"runoff needs series of nexuses or catchments: {argument('forcing')}, or a folder that holds them")
    if "discharge" in wanted and not series:
        raise NothingToRead(f"discharge needs what t-route wrote: {argument('discharge_file')}")
    network = read_network(sources[0])
    given = {name: value for name, value in options.items() if value is not None}
    runoff = read_runoff(places, network, **given).to_dataset() if "runoff" in wanted else None
    if runoff is not None and not runoff.sizes["time"]:
        raise XRouteError(f"there are no steps in {places[0]}")
    discharge = read_discharge(series, network, start=start, dt=dt).to_dataset() if "discharge" in wanted else None
    return Setup(network, runoff, discharge=discharge)


READER = Reader(
    "Convert NextGen: a hydrofabric (GeoPackage), or a folder with one, and with series of nexuses or catchments.",
    read=_read,
    find=_find,
    patterns=("*.gpkg", *NEXUSES, *STEPS, *CATCHMENTS, *OUTPUTS),
    products=("network", "runoff", "discharge"),
    options=(
        ReaderOption("forcing", "Folder or files of nexuses or catchments, when not in SOURCE.", "file", several=True),
        ReaderOption("by", "Which series to read, where there are both.", choices=BY),
        ReaderOption("share", "How flowpaths share their nexus.", choices=SHARES, default="area"),
        ReaderOption("variable", "Column of catchments.", default=FLOW),
        ReaderOption("missing", "Nexuses or catchments without a series.", choices=MISSING, default="raise"),
        ReaderOption("extra", "Series of other nexuses or catchments.", choices=EXTRA, default="raise"),
        ReaderOption("discharge_file", "What t-route wrote, when not in SOURCE.", "file", several=True),
        ReaderOption("start", "Start of t-route's run, for flowveldepth_*.csv."),
        ReaderOption("dt", "Step of t-route (seconds, or e.g. 5min), for flowveldepth_*.csv.", "step"),
    ),
)
