"""NextGen's hydrofabric, read from a GeoPackage and written to one: flowpaths, nexuses between them, attributes, divides."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some
from xroute.files.opening import PathLike, existing, only_match
from xroute.files.writing import replacing
from xroute.guards import reading, writing
from xroute.ids import exact_ids, positions_of, within
from xroute.io.nwm.network import VARIABLES, single_links
from xroute.io.nwm.time_columns import digits_of
from xroute.network_files import as_network
from xroute.placeholders import DECLARED
from xroute.tables import read_table
from xroute.tables.files import NEXUSES
from xroute.units import to_si

__all__ = ["find_hydrofabric", "is_hydrofabric", "layers_of", "nexus_of", "read_network", "write_network"]

logger = logging.getLogger(__name__)

DIVIDES = ("divides", "catchments")
PRESET = "nwm-hydrofabric"
#: Attribute -> our name, units, long name: those of RouteLink, and what hydrofabrics call gauges and lakes.
ATTRIBUTES = {theirs: about for theirs, about in VARIABLES.items() if about[0] not in ("k", "x", "length", "lon", "lat")} | {
    "rl_gages": ("gage", "", "gauge on the reach, empty where there is none"),
    "gages": ("gage", "", "gauge on the reach, empty where there is none"),
    "gage": ("gage", "", "gauge on the reach, empty where there is none"),
    "rl_NHDWaterbodyComID": ("waterbody", "", "ids of the lakes that the flowpath is in"),
    "WaterbodyID": ("waterbody", "", "ids of the lakes that the flowpath is in"),
}
WRITTEN = {
    "length": ("lengthkm", "km"), "area": ("areasqkm", "km2"), "upstream_area": ("tot_drainage_areasqkm", "km2"),
    "stream_order": ("order", "1"), "k": ("MusK", "s"), "x": ("MusX", "1"), "slope": ("So", "1"), "top_width": ("TopWdth", "m"),
    "gage": ("rl_gages", ""), "waterbody": ("rl_NHDWaterbodyComID", ""),
}  # fmt: skip
"""Our name -> column and its units, of what is written; other names are RouteLink's, or their own."""
FLOWPATHS = (
    "lengthkm", "areasqkm", "tot_drainage_areasqkm", "order", "mainstem", "hydroseq", "divide_id", "main_id", "member_comid",
)  # fmt: skip
"""Columns of the layer of flowpaths; all others stand in that of attributes."""


def read_network(path: PathLike) -> xr.Dataset:
    """Read the flowpaths of a hydrofabric.

    Parameters
    ----------
    path
        A GeoPackage with the layers ``flowpaths`` (``wb-`` to ``nex-``) and ``nexus`` (``nex-`` to ``wb-``), or, of early ones,
        ``flowpath_edge_list``; attributes and ``divides``, where they are there. Or a folder that holds one, itself or in
        ``config`` or ``domain``.

    Returns
    -------
    xarray.Dataset
        On ``reach`` (text, such as ``wb-11223``): ``downstream``, the flowpath below the nexus, and "" at outlets; ``nexus``, the
        nexus that the flowpath drains to; ``downstream_id``, what is below it in the file, which may be outside of a clipped
        domain; ``area`` [km2] of the divide, Muskingum ``k`` [s] and ``x``, ``length`` [km], ``slope``, ``manning_n``, widths
        [m], ``lon``, ``lat``, ``gage`` and ``waterbody`` (text), as far as the file has them.

    Raises
    ------
    NetworkError
        No flowpaths, or nexuses that stand nowhere.
    XRouteError
        A file that is no GeoPackage, or several in a folder.
    ImportError
        GeoPandas is not installed.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import nextgen
    >>> path = tempfile.mkdtemp() + "/basin.gpkg"
    >>> nextgen.write_network(xroute.datasets.tutorial()[0], path)
    >>> network = nextgen.read_network(path)
    >>> str(network.reach[0].item())[:3], int((network.downstream == "").sum()), network["area"].attrs["units"]
    ('wb-', 1, 'km2')
    """
    file = find_hydrofabric(path)
    dataset = read_table(file, preset=PRESET).drop_vars("time", errors="ignore")
    ids = dataset["reach"].to_numpy()
    if "nexus" not in dataset.variables:
        raise NetworkError(
            f"{file} is no hydrofabric of NextGen: its flowpaths ({some(ids, 3)}) drain to no nexuses (nex-). A table of reaches "
            "is read by xroute.tables.read_table"
        )
    below = dataset["downstream"].to_numpy()
    outside = (below != "") & ~within(below, ids)
    if outside.any():
        logger.info("%d flowpaths drain to what is not in %s, and are outlets: %s", outside.sum(), file, some(below[outside]))
    dataset["downstream"] = ("reach", np.where(outside, "", below), {"long_name": "id downstream", "outlet": ""})
    dataset["downstream_id"] = ("reach", below, {"long_name": "flowpath below the nexus, as it stands in the file"})
    dataset = _with_areas(dataset, file)
    if "width" in dataset.variables:
        dataset = dataset.rename(width="top_width")
    for theirs, (ours, units, long_name) in ATTRIBUTES.items():
        if theirs in dataset.variables and (ours == theirs or ours not in dataset.variables):
            dataset = dataset.rename({theirs: ours}) if ours != theirs else dataset
            dataset[ours].attrs = {"long_name": long_name} | ({"units": units} if units else {})
    if "k" in dataset and ids.size > 1 and (dataset["k"].values == dataset["k"].values[0]).all():
        dataset["k"].attrs[DECLARED] = "MusK has one value on all flowpaths, as hydrofabrics have that no one calibrated"
    dataset.attrs["source"] = f"NextGen hydrofabric: {file.name}"
    return dataset


def find_hydrofabric(path: PathLike) -> Path:
    """The GeoPackage of a folder, or the path itself."""
    folder = existing(path)
    if not folder.is_dir():
        return folder
    for place in (folder, folder / "config", folder / "domain"):
        file = only_match(place, ("*.gpkg",), "hydrofabric")
        if file is not None:
            return file
    raise FileNotFoundError(f"no *.gpkg in {folder}, or its folders config and domain")


def is_hydrofabric(file: Path) -> bool:
    """Whether a GeoPackage has the layers of a hydrofabric."""
    names = {name.lower() for name in layers_of(file)}
    return "flowpaths" in names and not names.isdisjoint(NEXUSES)


def layers_of(file: Path) -> list[str]:
    """Layers of a GeoPackage."""
    pyogrio = require("pyogrio", feature=f"reading {file.name}", extra="geo")
    with reading(file, "as a GeoPackage"):
        return [str(name) for name in pyogrio.list_layers(file)[:, 0]]


def nexus_of(network: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ids of a network's reaches, and of the nexus that each drains to: what the network says, or one for each reach below.

    Raises
    ------
    NetworkError
        For bifurcations, for reaches of one nexus with different reaches below, and ids without a number, where the network
        names no nexuses.
    """
    rivers = as_network(network)
    below, ids = single_links(rivers, "a hydrofabric"), rivers.ids
    if "nexus" in rivers.dataset.variables:
        nexus = exact_ids(rivers.dataset["nexus"].to_numpy(), "nexus")
        first = pd.Series(below).groupby(nexus).transform("first").to_numpy()
        if (first != below).any():
            raise NetworkError(f"reaches of one nexus drain to different ones below it: {some(np.unique(nexus[first != below]))}")
        return ids, nexus
    numbers = _numbers(ids)
    return ids, np.array([f"nex-{numbers[b]}" if b >= 0 else f"tnx-{numbers[k]}" for k, b in enumerate(below.tolist())])


def write_network(network: Any, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a network as a hydrofabric: a GeoPackage with flowpaths, nexus, divides and flowpath-attributes.

    Parameters
    ----------
    network
        Network or its Dataset, one reach downstream of each. Integer ids become ``wb-`` and the number. Nexuses are those of
        ``nexus``, or one above each reach, and ``tnx-`` at outlets.
    path
        The file, ``*.gpkg``.
    overwrite
        Replace what is at the path.

    Raises
    ------
    NetworkError
        Bifurcations; text ids without a number; a nexus above several reaches.
    ParameterError, UnitsError
        Parameters that cannot be brought to the hydrofabric's units.
    FileExistsError
        There is something at the path and ``overwrite`` is False.
    ImportError
        GeoPandas is not installed.

    Notes
    -----
    xroute keeps no geometry: where there are ``lon`` and ``lat``, a flowpath is a point there, and else it has none.

    Examples
    --------
    >>> import tempfile, xroute
    >>> from xroute.io import nextgen
    >>> network, _ = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/basin.gpkg"
    >>> nextgen.write_network(network, path)
    >>> nextgen.read_network(path).sizes["reach"] == network.sizes["reach"]
    True
    """
    require("pyogrio", feature="writing a GeoPackage", extra="geo")
    geopandas = require("geopandas", feature="writing a GeoPackage", extra="geo")
    if Path(path).suffix.lower() != ".gpkg":
        raise NetworkError(f"a hydrofabric is a GeoPackage, *.gpkg, and not {path}")
    ids, nexus = nexus_of(network)
    rivers = as_network(network)
    below, dataset = single_links(rivers, "a hydrofabric"), rivers.dataset
    numbers = _numbers(ids)
    names = ids if ids.dtype.kind == "U" else np.array([f"wb-{n}" for n in numbers])
    to = np.where(below >= 0, names[below], "wb-0")
    if "downstream_id" in dataset.variables:
        stated = dataset["downstream_id"].to_numpy().astype(str)
        to = np.where((below < 0) & ~within(stated, names) & (np.char.str_len(stated) > 2), stated, to)
    columns = _columns(dataset)
    if "length" in dataset.variables:  # which t-route takes
        columns["length_m"] = to_si(dataset["length"], "m", "'length'")
    flowpaths = pd.DataFrame({"id": names, "toid": nexus} | {c: v for c, v in columns.items() if c in FLOWPATHS})
    attributes = pd.DataFrame({"id": names} | {c: v for c, v in columns.items() if c not in FLOWPATHS})
    nexuses = pd.DataFrame({"id": nexus, "toid": to, "type": "nexus"}).drop_duplicates()
    layers = {"nexus": nexuses, "flowpath-attributes": attributes}
    if "areasqkm" in columns:
        divides = columns.get("divide_id", np.array([f"cat-{number}" for number in numbers]))
        about = {"divide_id": divides, "toid": nexus, "type": "network", "areasqkm": columns["areasqkm"], "id": names}
        layers["divides"] = pd.DataFrame(about)
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        if {"lon", "lat"} <= set(dataset.variables):
            points = geopandas.points_from_xy(dataset["lon"].to_numpy(), dataset["lat"].to_numpy())
            geopandas.GeoDataFrame(flowpaths, geometry=points, crs=4326).to_file(draft, layer="flowpaths", engine="pyogrio")
        else:
            layers = {"flowpaths": flowpaths, **layers}
        _write_tables(layers, draft)


def _write_tables(layers: dict[str, pd.DataFrame], path: Path) -> None:
    import pyogrio

    for name, table in layers.items():
        pyogrio.write_dataframe(table, path, layer=name, driver="GPKG", append=path.exists())


def _columns(dataset: xr.Dataset) -> dict[str, NDArray[Any]]:
    """What a network's variables are called in a hydrofabric, in its units."""
    theirs = {ours: (name, units) for name, (ours, units, _) in VARIABLES.items()} | WRITTEN
    found: dict[str, NDArray[Any]] = {}
    for name, variable in dataset.data_vars.items():
        if variable.dims != ("reach",) or name in ("downstream", "downstream_id", "nexus", "scheme"):
            continue
        column, units = theirs.get(str(name), (str(name), ""))
        values = variable.to_numpy()
        if units and units != "1" and values.dtype.kind == "f" and "units" in variable.attrs:
            values = values if variable.attrs["units"] == units else to_si(variable, units, f"{name!r}")
        found[column] = values
    return found


def _with_areas(dataset: xr.Dataset, file: Path) -> xr.Dataset:
    """The network with the areas of its divides, where the file has them: several of one flowpath are added up."""
    layer = next((name for wanted in DIVIDES for name in layers_of(file) if name.lower() == wanted), None)
    if layer is None:
        return dataset
    import pyogrio

    with reading(file, "as a GeoPackage"):
        table = pyogrio.read_dataframe(file, layer=layer, read_geometry=False)
    key = next((name for name in ("id", "divide_id") if name in table.columns), None)
    if key is None or "areasqkm" not in table.columns:
        logger.warning("layer %r of %s has no ids and areasqkm, and is not read", layer, file)
        return dataset
    known = table[table[key].notna() & table["areasqkm"].notna()]
    of = pd.Series(known["areasqkm"].to_numpy(np.float64)).groupby(np.array(digits_of(known[key].to_numpy()))).sum()
    at = positions_of(np.array(digits_of(dataset["reach"].to_numpy())), of.index.to_numpy().astype(str))
    own = dataset["area"].to_numpy() if "area" in dataset.variables else np.full(at.size, np.nan)
    area = np.where(at >= 0, of.to_numpy()[at], own)
    left = of.size - np.unique(at[at >= 0]).size
    if left:
        logger.info("%d divides of %s have no flowpath, and are left out", left, file)
    return dataset.assign(area=("reach", area, {"units": "km2", "long_name": "area of the divide"}))


def _numbers(ids: NDArray[Any]) -> Sequence[str]:
    numbers = digits_of(ids)
    bad = [one for one, number in zip(ids.tolist(), numbers, strict=True) if not number.isdigit()]
    if bad or len(set(numbers)) < len(numbers):
        what = f"{len(bad)} have none: {some(bad)}" if bad else "several have the same"
        raise NetworkError(f"ids of a hydrofabric have a number of their own, such as wb-11223, and {what}")
    return numbers
