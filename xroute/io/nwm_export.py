"""Whole set-ups of the National Water Model, t-route and NextGen, written for `xroute export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xroute.io import nextgen, nwm, troute
from xroute.io.reader import ReaderOption
from xroute.io.writer import Outgoing, Writer

__all__ = ["NEXTGEN", "NWM", "TROUTE"]

_DT = ReaderOption("dt", "Length of a step (seconds, or e.g. 1h), for series of a single time.", "step")


def _nwm(outgoing: Outgoing, folder: Path, /, *, packed: bool, forcing: str, dt: Any) -> None:
    network = outgoing.network
    if network is not None:
        nwm.write_network(network, folder / "RouteLink.nc")
    if outgoing.runoff is not None:
        path = folder / ("channel_forcing" if forcing == "CHRTOUT" else f"forcing.{forcing}")
        nwm.write_runoff(outgoing.runoff, path, network, layout=forcing, packed=packed and forcing == "CHRTOUT", dt=dt)
    if outgoing.discharge is not None:
        nwm.write_discharge(outgoing.discharge, folder / "output", network, packed=packed, dt=dt)
    if outgoing.state is not None:
        nwm.write_state(outgoing.state, folder, folder / "RouteLink.nc")


def _troute(outgoing: Outgoing, folder: Path, /, *, name: str, layout: str, dt: Any) -> None:
    assert outgoing.discharge is not None
    suffix = {"stream": ".nc", "parquet": ".parquet", "flowveldepth": ".csv"}[layout]
    troute.write_discharge(outgoing.discharge, folder / f"{name}{suffix}", layout=layout, dt=dt)


def _nextgen(outgoing: Outgoing, folder: Path, /, *, name: str, by: Any, dt: Any) -> None:
    assert outgoing.network is not None
    nextgen.write_network(outgoing.network, folder / f"{name}.gpkg")
    if outgoing.runoff is not None:
        (folder / "forcing").mkdir()
        nextgen.write_runoff(outgoing.runoff, folder / "forcing", outgoing.network, by=by, dt=dt)


NWM = Writer(
    "Write files of the National Water Model: RouteLink.nc, forcing, streamflow (CHRTOUT) and a restart (HYDRO_RST).",
    write=_nwm,
    needs=(("state", ("network",)),),
    options=(
        ReaderOption("packed", "Store streamflow and inflow as integers, as the model does.", "flag"),
        ReaderOption("forcing", "What inflow is written as.", choices=("CHRTOUT", "csv", "parquet"), default="CHRTOUT"),
        _DT,
    ),
)
TROUTE = Writer(
    "Write discharge as t-route does: netCDF by feature_id, Parquet, or flowveldepth CSV.",
    write=_troute,
    products=("discharge",),
    options=(
        ReaderOption("name", "What the file is called, without its suffix.", default="troute_output"),
        ReaderOption("layout", "Which of t-route's layouts.", choices=("stream", "parquet", "flowveldepth"), default="stream"),
        _DT,
    ),
)
NEXTGEN = Writer(
    "Write files of NextGen: a hydrofabric (GeoPackage), and inflow by nexus or by catchment.",
    write=_nextgen,
    products=("network", "runoff"),
    needs=(("runoff", ("network",)),),
    options=(
        ReaderOption("name", "What the GeoPackage is called, without its suffix.", default="hydrofabric"),
        ReaderOption("by", "Whose inflow a file holds.", choices=("nexus", "catchment"), default="nexus"),
        _DT,
    ),
)
