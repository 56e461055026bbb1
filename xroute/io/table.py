"""Convert networks of tables, hydrographies above all, and estimate on the way what they lack: `xroute convert table`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import ParameterError, XRouteError, some
from xroute.hydrography import estimate_parameters, local_area
from xroute.hydrography.inputs import Inputs
from xroute.io.reader import Product, Reader, ReaderOption, Setup
from xroute.network import Network
from xroute.network_files import is_table, open_any
from xroute.settings import ESTIMATE, MISSING_DOWNSTREAM, NEGATIVE_AREA
from xroute.wording import argument

__all__ = ["READER"]

logger = logging.getLogger("xroute")

LEAST = ("min_length", "min_slope", "min_discharge")
"""Options that are numbers; the others of `Inputs` may be the name of a variable, too."""


def _read(
    sources: Sequence[Path],
    wanted: Sequence[Product],
    /,
    *,
    missing_downstream: str | None,
    scheme: str | None,
    method: str | None,
    upstream_area: str | None,
    negative_area: str | None,
    estimate_anew: bool,
    **others: Any,
) -> Setup:
    if len(sources) != 1:
        raise XRouteError(f"one table makes a network, not {len(sources)}: join them first, e.g. with pandas.concat")
    inputs = {name: _number_or_name(name, others.pop(name)) for name in Inputs.names()}
    dataset = _open(sources[0], **others)
    network = Network(dataset, missing_downstream=missing_downstream or "raise")  # type: ignore[arg-type]
    if missing_downstream == "outlet":
        network = network.with_outlets()
    if upstream_area is not None:
        network = local_area(network, upstream_area, negative=negative_area or "raise", overwrite=estimate_anew)  # type: ignore[arg-type]
    given = {name: value for name, value in inputs.items() if value is not None}
    if given or method is not None or estimate_anew:
        network = estimate_parameters(network, scheme, method=method or "celerity", overwrite=estimate_anew, **given)  # type: ignore[arg-type]
    elif scheme is not None:
        network = network.assign_attrs(scheme=scheme)
    return Setup(network.dataset)


def _open(
    source: Path, *, preset: str | None, reach_column: str | None, downstream_column: str | None, layer: str | None,
    column_units: Sequence[str],
) -> xr.Dataset:  # fmt: skip
    """Dataset of a table; or of a network that is one already, so that it gets what it lacks."""
    pairs = [text.partition("=") for text in column_units]
    wrong = [text for text, (name, _, units) in zip(column_units, pairs, strict=True) if not (name and units)]
    if wrong:
        raise ParameterError(
            f"{some(wrong)}: units of columns are NAME=UNITS, such as k=h ({argument('column_units')})"
        )
    columns = {
        "preset": preset, "reach": reach_column, "downstream": downstream_column, "layer": layer,
        "units": {name: units for name, _, units in pairs},
    }  # fmt: skip
    named = {name: value for name, value in columns.items() if value}
    if named and not is_table(source):
        raise ParameterError(f"{source} is no table, so that it has no columns to name: leave such options out")
    with open_any(source, **named) as dataset:
        loaded = dataset.load()
    return loaded.assign_attrs(source=loaded.attrs.get("source", source.name))


def _number_or_name(name: str, text: str | None) -> float | str | None:
    """A number, or the name of a variable."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        if name in LEAST:
            raise ParameterError(f"{argument(name)} is a number, not {text!r}") from None
        return text


def _find(folder: Path, options: Mapping[str, Any]) -> dict[str, Path]:
    return {"network": folder}


def _one_of(values: Sequence[str]) -> str:
    return " or ".join(values)


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
        ReaderOption("column_units", "Units of a column: NAME=UNITS, such as k=h.", several=True),
        ReaderOption("layer", "Layer of a GeoPackage."),
        ReaderOption("missing_downstream", f"Downstream ids that are not in the table: {_one_of(MISSING_DOWNSTREAM)}."),
        ReaderOption("scheme", "Routing scheme; by default the table's own, or muskingum."),
        ReaderOption("method", f"How to estimate its parameters: {_one_of(ESTIMATE)}."),
        ReaderOption("celerity", "Celerity of flood waves [m s-1]; 0.3 to 3 in rivers."),
        ReaderOption("x", "Muskingum weight, 0 to 0.5; 0.2 by default."),
        ReaderOption("diffusivity", "Diffusivity of flood waves [m2 s-1], in place of x."),
        ReaderOption("discharge", "Mean discharge [m3 s-1], for manning; by default the variable mean_discharge."),
        ReaderOption("slope", "Slope of the bed [1], for manning; by default the variable slope."),
        ReaderOption("width", "Width of the channel [m], for manning; by default the variable width, or 7.2 Q^0.5."),
        ReaderOption("roughness", "Manning's n; by default the variable roughness, or 0.035."),
        ReaderOption("min_length", "Least length [m], in place of those that are less or missing."),
        ReaderOption("min_slope", "Least slope, in place of those that are less or missing; 1e-5 is usual."),
        ReaderOption("min_discharge", "Least discharge [m3 s-1], in place of those that are less or missing."),
        ReaderOption(
            "upstream_area", "Variable with areas upstream, of which local areas are made; often upstream_area."
        ),
        ReaderOption("negative_area", f"Local areas below zero: {_one_of(NEGATIVE_AREA)}."),
        ReaderOption("estimate_anew", "Estimate also what the table has.", "flag"),
    ],
)
