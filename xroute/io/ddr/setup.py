"""A whole set-up of DDR, for `xroute convert` and `xroute export`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xroute.exceptions import NetworkError, XRouteError, some
from xroute.io.ddr.network import is_adjacency, read_network
from xroute.io.ddr.series import read_discharge, read_runoff
from xroute.io.ddr.writing import write_discharge, write_network, write_runoff
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.io.writer import Outgoing, Writer
from xroute.stores import is_group
from xroute.wording import argument

__all__ = ["READER", "WRITER"]


def _store(source: Path, gauge: str | None) -> Path:
    """The matrix itself, or the only one of a folder."""
    if gauge is not None or not source.is_dir() or is_group(source):
        return source
    found = sorted(path for path in source.iterdir() if path.is_dir() and is_adjacency(path))
    if len(found) != 1:
        what = f"has {len(found)} adjacency matrices: {some(path.name for path in found)}" if found else "has no adjacency matrix"
        raise NetworkError(f"{source} {what}: name the one to read")
    return found[0]


def _read(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, gauge: str | None, adjacency: Path | None,
    streamflow: Path | None, predictions: Path | None,
) -> Setup:  # fmt: skip
    if len(sources) != 1:
        raise XRouteError(f"one matrix makes a network, not {len(sources)}")
    network = read_network(_store(sources[0], gauge), gauge, adjacency=adjacency)
    for product, path, name in (("runoff", streamflow, "streamflow"), ("discharge", predictions, "predictions")):
        if product in wanted and path is None:
            raise NothingToRead(f"the {product} is in a store of its own: name it, {argument(name)}")
    runoff = read_runoff(streamflow, network).to_dataset() if "runoff" in wanted and streamflow else None
    discharge = read_discharge(predictions, network).to_dataset() if "discharge" in wanted and predictions else None
    return Setup(network, runoff, None, discharge)


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    return {"matrix": _store(folder, options["gauge"])}


def _write(outgoing: Outgoing, folder: Path, /, *, name: str, dt: Any) -> None:
    if outgoing.network is not None:
        write_network(outgoing.network, folder / f"{name}_adjacency.zarr")
    if outgoing.runoff is not None:
        assert outgoing.network is not None
        write_runoff(outgoing.runoff, folder / f"{name}_streamflow.zarr", outgoing.network, dt=dt)
    if outgoing.discharge is not None:
        write_discharge(outgoing.discharge, folder / "chrout.zarr", outgoing.network, dt=dt)


READER = Reader(
    "Convert DDR: an adjacency matrix (Zarr, COO form of binsparse) and its stores of lateral inflow and discharge.",
    read=_read,
    find=_find,
    patterns=("zarr.json", ".zgroup", ".zattrs", "*.zarr"),
    products=("network", "runoff", "discharge"),
    options=(
        ReaderOption("gauge", "Name of a gauge, when SOURCE has a matrix for each."),
        ReaderOption("adjacency", "Matrix of the whole domain, whose rows those of a gauge are.", "file"),
        ReaderOption("streamflow", "Store of lateral inflow, with Qr.", "file"),
        ReaderOption("predictions", "Store of DDR's discharge (chrout.zarr).", "file"),
    ),
)
WRITER = Writer(
    "Write DDR's stores: the adjacency matrix, lateral inflow (Qr) and discharge (chrout.zarr).",
    write=_write,
    products=("network", "runoff", "discharge"),
    needs=(("runoff", ("network",)),),
    options=(
        ReaderOption("name", "What the stores are called after: NAME_adjacency.zarr.", default="xroute"),
        ReaderOption("dt", "Length of a step (seconds, or e.g. 1D), for series of a single time.", "step"),
    ),
)
