"""A whole set-up of mizuRoute, written for `xroute export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xroute.io import mizuroute
from xroute.io.layout_series import is_first
from xroute.io.mizuroute.writing import calendar_of
from xroute.io.reader import ReaderOption
from xroute.io.writer import Outgoing, Writer
from xroute.network_files import as_network

__all__ = ["WRITER"]


def _write(outgoing: Outgoing, folder: Path, /, *, name: str, dt: Any) -> None:
    network, state = outgoing.network, outgoing.state
    first = network is not None and state is not None and is_first(outgoing, as_network(network), "mizuRoute", dt)
    if outgoing.runoff is not None:
        mizuroute.write_setup(folder, network, outgoing.runoff, state=state if first else None, case_name=name, dt=dt)
    elif network is not None:
        mizuroute.write_network(network, folder / "topology.nc")
        if {"celerity", "diffusivity"} <= set(network.variables):
            mizuroute.write_parameters(network, folder / "param.nml")
    if state is not None and not (first and outgoing.runoff is not None):
        restart = folder / ("restart.nc" if first else f"{name}.r.nc")
        series = outgoing.runoff if outgoing.runoff is not None else outgoing.discharge
        calendar = "standard" if series is None else calendar_of(series["time"])
        mizuroute.write_state(state, restart, network, calendar=calendar)
    if outgoing.discharge is not None:
        mizuroute.write_discharge(outgoing.discharge, folder / f"{name}.h.nc", dt=dt)


WRITER = Writer(
    "Write mizuRoute's files: network, namelist, control file, runoff, restart and history (IRFroutedRunoff).",
    write=_write,
    needs=(("runoff", ("network",)), ("state", ("network",))),
    options=(
        ReaderOption("name", "What the run is called: NAME.h.nc.", default="xroute"),
        ReaderOption("dt", "Length of a step (seconds, or e.g. 1h), for series of a single time.", "step"),
    ),
)
