"""Convert networks of tables, hydrographies above all, and estimate on the way what they lack: `xroute convert table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import ParameterError, XRouteError
from xroute.hydrography import estimate_parameters, local_area
from xroute.hydrography.inputs import Inputs
from xroute.io.reader import Product, Reader, ReaderOption, Setup
from xroute.network import Network
from xroute.network_files import is_table, open_any
from xroute.settings import ESTIMATE, MISSING_DOWNSTREAM, NEGATIVE_AREA
from xroute.wording import argument

__all__ = ["READER"]


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    missing_downstream: Any,
    scheme: str | None,
    method: Any,
    upstream_area: str | None,
    negative_area: Any,
    estimate_anew: bool,
    **others: Any,
) -> Setup:
    if len(sources) != 1:
        raise XRouteError(f"one table makes a network, not {len(sources)}: join them first, e.g. with pandas.concat")
    inputs = {name: _number_or_name(others.pop(name)) for name in Inputs.names()}
    dataset = _open(sources[0], **others)
    network = Network(dataset, missing_downstream=missing_downstream)
    if missing_downstream == "outlet":
        network = network.with_outlets()
    if upstream_area is None and negative_area != "raise":
        raise ParameterError(
            f"{argument('negative_area', negative_area)} is of areas that are made of {argument('upstream_area')}: give it too"
        )
    if upstream_area is not None:
        network = local_area(network, upstream_area, negative=negative_area, overwrite=estimate_anew)
    given: dict[str, Any] = {name: value for name, value in inputs.items() if value is not None}
    if given or method is not None or estimate_anew:
        network = estimate_parameters(network, scheme, method=method or "celerity", overwrite=estimate_anew, **given)
    elif scheme is not None:
        network = network.assign_attrs(scheme=scheme)
    return Setup(network.dataset)


def _open(
    source: Path, *, preset: str | None, reach_column: str | None, downstream_column: str | None, layer: str | None,
    column_units: Mapping[str, str],
) -> xr.Dataset:  # fmt: skip
    """Dataset of a table; or of a network that is one already, so that it gets what it lacks."""
    columns = {
        "preset": preset, "reach": reach_column, "downstream": downstream_column, "layer": layer,
        "units": column_units,
    }  # fmt: skip
    named = {name: value for name, value in columns.items() if value}
    if named and not is_table(source):
        raise ParameterError(f"{source} is no table, so that it has no columns to name: leave such options out")
    with open_any(source, **named) as dataset:
        loaded = dataset.load()
    return loaded.assign_attrs(source=loaded.attrs.get("source", source.name))


def _number_or_name(given: Any) -> float | str | None:
    """A number, where text is one; else the name of a variable."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return str(given)


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    return {"network": folder}


READER = Reader(
    "Convert a table of reaches, or another network file, and estimate what it lacks: a hydrography such as HydroRIVERS, "
    "MERIT-Basins, TDX-Hydro, SWORD, NHDPlus or NextGen (.gpkg, .shp, .parquet, .csv, ...), a netCDF file or a Zarr store.\n\n"
    "Parameters of the routing scheme are estimated where a celerity or a method is given; see xroute.estimate_parameters for "
    "what the methods do, and for which rivers. What is given for them is a number in SI units, or the name of a variable.",
    read=_read,
    find=_find,
    patterns=("zarr.json", ".zgroup", ".zattrs"),
    products=("network",),
    options=[
        ReaderOption("preset", "Hydrography that the columns are called after."),
        ReaderOption("reach_column", "Column with the ids of the reaches."),
        ReaderOption("downstream_column", "Column with the ids of the reaches downstream."),
        ReaderOption("column_units", "Units of a column: NAME=UNITS, such as k=h.", "units", several=True),
        ReaderOption("layer", "Layer of a GeoPackage."),
        ReaderOption(
            "missing_downstream", "Downstream ids that are not in the table: an error, or outlets of it.",
            choices=MISSING_DOWNSTREAM, default="raise",
        ),
        ReaderOption("scheme", "Routing scheme; by default the table's own, or muskingum."),
        ReaderOption("method", "How to estimate its parameters: of lengths, or of slopes and flows.", choices=ESTIMATE),
        ReaderOption("celerity", "Celerity of flood waves [m s-1]; 0.3 to 3 in rivers."),
        ReaderOption("x", "Muskingum weight, 0 to 0.5; 0.2 by default."),
        ReaderOption("diffusivity", "Diffusivity of flood waves [m2 s-1], in place of x."),
        ReaderOption("discharge", "Mean discharge [m3 s-1], for manning; by default the variable mean_discharge."),
        ReaderOption("slope", "Slope of the bed [1], for manning; by default the variable slope."),
        ReaderOption("width", "Width of the channel [m], for manning; by default the variable width, or 7.2 Q^0.5."),
        ReaderOption("roughness", "Manning's n; by default the variable roughness, or 0.035."),
        ReaderOption("min_length", "Least length [m], in place of those that are less or missing.", "number"),
        ReaderOption("min_slope", "Least slope, in place of those that are less or missing; 1e-5 is usual.", "number"),
        ReaderOption("min_discharge", "Least discharge [m3 s-1], in place of those that are less or missing.", "number"),
        ReaderOption(
            "upstream_area", "Variable with areas upstream, of which local areas are made; often upstream_area."
        ),
        ReaderOption(
            "negative_area", "Local areas below zero: an error, or none.", choices=NEGATIVE_AREA, default="raise"
        ),
        ReaderOption("estimate_anew", "Estimate also what the table has.", "flag"),
    ],
)
