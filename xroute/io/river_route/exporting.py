"""``xroute export river-route``: a folder that river-route runs, with its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xroute.exceptions import ParameterError, warn
from xroute.io.layout_series import is_first
from xroute.io.reader import ReaderOption
from xroute.io.river_route.layout import LAYOUTS, Layout
from xroute.io.river_route.network import write_network
from xroute.io.river_route.state import write_state
from xroute.io.river_route.steps import steps_of
from xroute.io.river_route.weights import write_weights
from xroute.io.river_route.writing import write_discharge, write_runoff
from xroute.io.writer import NothingToWrite, Outgoing, Writer
from xroute.network import Network
from xroute.network_files import as_network
from xroute.recipe import stated_seconds, step_of
from xroute.time_dims import find_time_dim

__all__ = ["WRITER"]

NAMES = {
    2: {"network": "params.parquet", "runoff": "qlateral.nc", "discharge": "discharge.nc"},
    3: {"network": "network.parquet", "runoff": "catchment_runoff.nc", "discharge": "discharge.zarr"},
}
"""What files are called, by version."""
STATES = {"state": "init.parquet", "final": "final.parquet"}


def _write(outgoing: Outgoing, folder: Path, /, *, version: str, weights: Path | None) -> None:
    """All that was given, and a configuration where network and runoff are."""
    layout = LAYOUTS[int(version)]
    options: dict[str, Any] = {"version": layout.version}
    files = {part: folder / name for part, name in {**NAMES[layout.version], **STATES}.items()}
    if outgoing.network is None:
        if outgoing.discharge is None or weights is not None:
            raise NothingToWrite("files of river-route have the order of its network: give the network too")
        write_discharge(outgoing.discharge, files["discharge"], **options)
        return
    network = as_network(outgoing.network)
    if network.attrs.get("lateral", "head") != "interval":
        warn(
            "river-route lets runoff flow in evenly along the reach (lateral=\"interval\"), and this network is routed with "
            f"lateral=\"{network.attrs.get('lateral', 'head')}\": its discharge will differ"
        )  # fmt: skip
    if layout.version == 2 and steps_of(network) is not None:
        warn("the network is routed as river-route 3 does (scheme river_route_3), and version 2 routes it in steps of runoff")
    write_network(network, files["network"], **options)
    begins = False
    if outgoing.runoff is not None:
        write_runoff(outgoing.runoff, files["runoff"], network, **options)
    if outgoing.state is not None:
        begins = is_first(outgoing, network, "river-route")
        write_state(outgoing.state, files["state" if begins else "final"], network, **options)
    if outgoing.discharge is not None:
        write_discharge(outgoing.discharge, files["discharge"], network, **options)
    if weights is not None:
        write_weights(weights, folder / "weights.nc", network, **options)
    if outgoing.runoff is not None:
        values = _config(layout, network, outgoing, begins)
        if layout.version == 3:
            text = json.dumps(values, indent=2)
        else:
            text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())  # which is YAML, too
        (folder / ("config.json" if layout.version == 3 else "config.yaml")).write_text(text, encoding="utf-8")


def _config(layout: Layout, network: Network, outgoing: Outgoing, begins: bool) -> dict[str, Any]:
    """A configuration that routes in the steps of the network; river-route looks for files from where it is started."""
    assert outgoing.runoff is not None
    runoff = step_of(outgoing.runoff, find_time_dim(outgoing.runoff), network)
    routing = stated_seconds(network.attrs, "routing_step") or runoff
    steps = {"dt_runoff": runoff, "dt_routing": routing}
    for name, step in steps.items():
        if step is not None and step != round(step):
            raise ParameterError(f"steps of river-route are whole seconds, and {name} would be {step:g} s")
    names = NAMES[layout.version]
    values: dict[str, Any] = {
        layout.files["network"]: names["network"], layout.files["runoff"]: [names["runoff"]],
        layout.files["discharge"]: [f"./{names['discharge']}"], layout.files["final"]: f"./{STATES['final']}",
    }  # fmt: skip
    if begins:
        values[layout.files["state"]] = STATES["state"]
    if routing is not None:
        values["dt_routing"] = int(routing)
    if layout.version == 2:
        return values | ({} if runoff is None else {"dt_runoff": int(runoff)})
    # as it stands: rivers are not split, nor stepped one by one, and k and x that oscillate are told of, as here
    plain = {"use_subreaches": False, "use_subcycles": False}
    return values | (steps_of(network) or plain) | {"forcing": "catchment", "invalid_coefficients": "log"}


WRITER = Writer(
    "Write river-route's files: its table, runoff, states, discharge, and a configuration.",
    write=_write,
    needs=(("runoff", ("network",)), ("state", ("network",))),
    options=(
        ReaderOption("version", "Version of river-route.", choices=tuple(map(str, LAYOUTS)), default="2"),
        ReaderOption("weights", "Weights of a grid, which are written too.", "file"),
    ),
)
