"""Inflow by nexus or by catchment, written as ngen writes it and t-route reads it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, one_of, some
from xroute.files.opening import PathLike
from xroute.files.writing import replacing
from xroute.guards import writing
from xroute.ids import positions_of
from xroute.io.common import dataset_of
from xroute.io.nextgen.forcing import BY, FLOW, By
from xroute.io.nextgen.network import nexus_of
from xroute.io.nwm.time_columns import digits_of
from xroute.io.nwm.writing import series_to_write
from xroute.settings import Label
from xroute.units import to_si

__all__ = ["write_runoff"]


def write_runoff(
    runoff: xr.DataArray,
    folder: PathLike,
    network: Any,
    *,
    by: By = "nexus",
    dt: Any = None,
    label: Label | None = None,
    overwrite: bool = False,
) -> None:
    """Write the inflow of flowpaths as ngen's output: a CSV a nexus, or a catchment.

    Parameters
    ----------
    runoff : (time, reach)
        In any units that `xroute.route` takes, on all reaches of the network.
    folder
        Where the files go; it is there.
    network
        Network of `read_network`, or its Dataset.
    by
        ``"nexus"``: ``nex-11223_output.csv``, flow [m3 s-1], the inflow of all flowpaths that end there added up; or
        ``"catchment"``: ``cat-11223.csv`` with ``Q_OUT``, the depth of a step [m] on the network's ``area``.
    dt, label
        Step (seconds, or text like ``"1h"``), for a single time, and what a stamp is of it; by default what the runoff says.
        Files have the starts of steps.
    overwrite
        Replace files of these names.

    Raises
    ------
    AlignmentError
        Reaches that are in one of the two only; members.
    ParameterError, UnitsError, TimeAxisError
        A network without areas, for catchments; units and times that cannot be written.
    FileExistsError
        Files are there and ``overwrite`` is False; nothing is written then.

    Examples
    --------
    >>> import pathlib, tempfile, xroute
    >>> from xroute.io import nextgen
    >>> network, ds = xroute.datasets.tutorial()
    >>> part = network.river.basin(network.reach[40].item())
    >>> runoff = ds.runoff.isel(time=slice(0, 3)).sel(reach=part.reach)
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> nextgen.write_runoff(runoff, folder, part, by="catchment")
    >>> len(list(folder.glob("cat-*.csv"))) == part.sizes["reach"]
    True
    """
    one_of("by", by, BY)
    rivers = dataset_of(network)
    ids, nexus = nexus_of(network)
    series = series_to_write(runoff, "runoff", dt, label, network=rivers, at="start", text=True)
    at = positions_of(ids, series["reach"].values)
    if (at < 0).any() or ids.size != series.sizes["reach"]:
        lacking = ids[at < 0] if (at < 0).any() else np.setdiff1d(series["reach"].values, ids)
        raise AlignmentError(f"runoff and network hold different reaches: {lacking.size} are in one only: {some(lacking)}")
    flow = series.to_numpy().astype(np.float64)[:, at]
    if by == "catchment":
        depth = _depth(flow, series, rivers)
        files = {f"cat-{number}.csv": column for number, column in zip(digits_of(ids), depth.T, strict=True)}
    else:
        names, group = np.unique(nexus, return_inverse=True)
        total = np.zeros((len(flow), names.size))
        np.add.at(total.T, group, flow.T)
        files = {f"{name}_output.csv": column for name, column in zip(names.tolist(), total.T, strict=True)}
    stamps = pd.DatetimeIndex(series["time"].values).strftime("%Y-%m-%d %H:%M:%S")
    place, head, comma = Path(folder), f"Time Step,Time,{FLOW}\n" if by == "catchment" else "", "," if by == "catchment" else ", "
    with ExitStack() as stack, writing(f"write {folder}", target=folder):
        drafts = [stack.enter_context(replacing(place / name, overwrite=overwrite)) for name in files]
        for draft, column in zip(drafts, files.values(), strict=True):
            rows = zip(range(column.size), stamps, column.tolist(), strict=True)
            draft.write_text(head + "".join(f"{k}{comma}{stamp}{comma}{value!r}\n" for k, stamp, value in rows), encoding="utf-8")


def _depth(flow: NDArray[np.float64], series: xr.DataArray, rivers: xr.Dataset | None) -> NDArray[np.float64]:
    """Depth of a step [m] of a flow [m3 s-1]."""
    if rivers is None or "area" not in rivers.variables:
        raise ParameterError("depths on catchments need the network's 'area'")
    area = to_si(rivers["area"], "m2", "'area'")
    bad = ~(area > 0)
    if bad.any():
        raise ParameterError(f"'area' is not positive on {int(bad.sum())} reaches: {some(rivers['reach'].values[bad])}")
    return np.asarray(flow * series.attrs["step"] / area)
