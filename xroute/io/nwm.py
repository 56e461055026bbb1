"""Read the National Water Model's channel network (RouteLink) and hourly channel forcing (CHRTOUT).

The order of features differs between the two, and may differ from file to file: everything is matched by id. The
model's own routing is nonlinear, so it is topology, parameters and forcing that are read here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, NetworkError, TimeAxisError, XRouteError, some
from xroute.files.decoding import mask_fill
from xroute.files.opening import PathLike, only_match, open_netcdf
from xroute.ids import distinct, exact_ids, positions_of, repeated, within
from xroute.io.common import concatenate, dataset_of, expand_paths, file_ids
from xroute.io.reader import NothingToRead, Product, Reader, ReaderOption, Setup
from xroute.placeholders import DECLARED
from xroute.schemes import name_default_scheme
from xroute.wording import argument, phrase

__all__ = ["READER", "find_files", "read_forcing", "read_network"]

logger = logging.getLogger(__name__)

OUTLET = 0
#: RouteLink variable -> our name, units, long name.
VARIABLES: dict[str, tuple[str, str, str]] = {
    "MusK": ("k", "s", "Muskingum storage constant"),
    "MusX": ("x", "1", "Muskingum weight"),
    "Length": ("length", "m", "length of the reach"),
    "So": ("slope", "1", "slope of the bed"),
    "n": ("manning_n", "s m-1/3", "Manning's roughness"),
    "nCC": ("manning_n_compound", "s m-1/3", "Manning's roughness of the compound channel"),
    "ChSlp": ("side_slope", "1", "side slope of the channel"),
    "BtmWdth": ("bottom_width", "m", "bottom width of the channel"),
    "TopWdth": ("top_width", "m", "top width of the channel"),
    "TopWdthCC": ("top_width_compound", "m", "top width of the compound channel"),
    "alt": ("elevation", "m", "elevation of the start node above NAVD88"),
    "lon": ("lon", "degrees_east", "longitude of the midpoint"),
    "lat": ("lat", "degrees_north", "latitude of the midpoint"),
    "order": ("stream_order", "1", "Strahler order as it stands in the file"),
    "NHDWaterbodyComID": ("waterbody", "", "id of the lake or reservoir (-9999: none)"),
}
FORCING_PATTERNS = ("*.CHRTOUT_DOMAIN*", "*CHRTOUT*", "*channel_rt*.nc")
NETWORK_PATTERNS = ("RouteLink.nc", "RouteLink*.nc", "Route_Link*.nc")


def find_files(folder: PathLike) -> dict[str, Any]:
    """Find the RouteLink file and the forcing files of a folder, or of its ``domain`` and ``channel_forcing`` folders.

    Parameters
    ----------
    folder
        The folder to look in.

    Returns
    -------
    dict
        ``network`` (a path) and ``forcing`` (a list of paths), as far as they were found.

    Raises
    ------
    XRouteError
        When several files could be the network.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> sorted(nwm.find_files(folder))
    ['forcing', 'network']
    """
    found: dict[str, Any] = {}
    for place in (Path(folder), Path(folder) / "domain"):
        route_link = only_match(place, NETWORK_PATTERNS, "network")
        if route_link is not None:
            found["network"] = route_link
            break
    for place in (Path(folder), Path(folder) / "channel_forcing"):
        forcing = next((files for pattern in FORCING_PATTERNS if (files := sorted(place.glob(pattern)))), [])
        if forcing:
            found["forcing"] = forcing
            break
    return found


def read_network(path: PathLike) -> xr.Dataset:
    """Read a RouteLink file.

    Parameters
    ----------
    path
        ``RouteLink*.nc``, or a folder that holds one (itself, or in ``domain``).

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64 ids of ``link``): ``downstream`` (0 at outlets), ``downstream_id`` (the file's own ``to``,
        which may name links outside a clipped domain), Muskingum ``k`` [s] and ``x``, ``length`` [m], ``slope``,
        ``manning_n``, widths [m], ``lon``, ``lat``, ``elevation``, ``waterbody``, ``gage`` (text, empty where there is
        none).

    Raises
    ------
    NetworkError
        Not a RouteLink file, duplicate links, or links with a fill value.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> nwm.read_network(folder)["length"].attrs["units"]
    'm'
    """
    file = Path(path)
    if file.is_dir():
        found = find_files(file)
        if "network" not in found:
            raise FileNotFoundError(f"no {' or '.join(NETWORK_PATTERNS)} in {file} or {file / 'domain'}")
        file = found["network"]
    with open_netcdf(file, raw=True) as raw:
        for name in ("link", "to"):
            if name not in raw.variables:
                raise NetworkError(
                    f"{file} is not a RouteLink file: it has no variable {name!r}, but {some(raw.variables)}"
                )
        ids, to = (file_ids(raw[name].load(), file, NetworkError) for name in ("link", "to"))
        if ids.dtype.kind != "i" or to.dtype.kind != "i":
            raise NetworkError(f"link and to of {file} are integers, not {raw['link'].dtype} and {raw['to'].dtype}")
        dim = raw["link"].dims[0]
        twice = repeated(ids)
        if twice.size:
            raise NetworkError(f"{twice.size} duplicate links in {file}: {some(twice)}")
        inside = within(to, ids)
        unknown = distinct(to[~inside & (to != OUTLET)])
        if unknown.size:
            logger.info(
                "%d downstream links are not in %s, their reaches are outlets: %s", unknown.size, file, some(unknown)
            )
        dataset = xr.Dataset(
            {
                "downstream": (
                    "reach",
                    np.where(inside, to, OUTLET),
                    {"long_name": "id of the link downstream", "outlet": OUTLET},
                ),
                "downstream_id": ("reach", to, {"long_name": "downstream link as it stands in the file"}),
            },
            coords={"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "link id"})},
            attrs={
                "source": f"National Water Model: {file.name}",
                "n_outlets": int((~inside).sum()),
                "n_downstream_ids_not_routed": int(unknown.size),
            },
        )
        for name, (ours, units, long_name) in VARIABLES.items():
            if name in raw.variables and raw[name].dims == (dim,):
                variable = raw[name].load()
                attrs = {"long_name": long_name} | ({"units": units} if units else {})
                if variable.dtype.kind == "f":
                    # Parameters are doubles here: what float32 holds, exactly.
                    values = mask_fill(variable).to_numpy().astype(np.float64)
                else:
                    values = exact_ids(variable.to_numpy(), f"{name} of {file}")
                dataset[ours] = ("reach", values, attrs)
        if "gages" in raw.variables:
            gages = _text(raw["gages"].to_numpy())
            dataset["gage"] = ("reach", gages, {"long_name": "gauge on the reach, empty where there is none"})
    if "k" in dataset and ids.size > 1 and (dataset["k"].values == dataset["k"].values[0]).all():
        dataset["k"].attrs[DECLARED] = "MusK has one value on all links, as RouteLink files have that no one calibrated"
    name_default_scheme(dataset)
    places = [name for name in ("lon", "lat") if name in dataset]
    return dataset.set_coords(places)


def _text(values: np.ndarray) -> np.ndarray:
    """Characters or bytes (reach, length) as stripped text."""
    if values.dtype.kind == "S" and values.ndim == 2:
        width = values.shape[1]
        values = np.ascontiguousarray(values).view(f"S{width}")[:, 0]
    if values.dtype.kind == "S":
        values = np.char.decode(values, "ascii", "replace")
    return np.char.strip(values.astype(str), " \0")


def read_forcing(
    files: PathLike | Sequence[PathLike], network: Any = None, *, variable: str | Sequence[str] | None = None
) -> xr.DataArray:
    """Read lateral inflow from CHRTOUT files, matched by id and sorted by time.

    Parameters
    ----------
    files
        A file, several, a glob pattern, or a folder that holds them (itself, or in ``channel_forcing``).
    network
        Network or its Dataset: the result takes its reaches in its order. By default the features of the first file.
    variable
        ``"q_lateral"``, or several variables to add up. By default ``q_lateral`` or the sum of ``qSfcLatRunoff``
        and ``qBucket``, whichever the files have. Where they have both, the one that is packed more finely is taken:
        some releases store ``q_lateral`` in units of 0.1 m3/s, which loses most of the inflow of small reaches.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1]. Time is the file's own (its valid time), which is the **end** of the hour, as
        the attribute ``time_label`` says; what is masked in the files is NaN. ``source_variables`` says what was read.

    Raises
    ------
    AlignmentError
        Files whose features differ, or reaches of the network that one of the files lacks, with ids.
    TimeAxisError
        The same time twice, files that lie within one another, or a file without time.
    XRouteError
        The variables are not there, or are not in m3 s-1.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> forcing = nwm.read_forcing(folder, nwm.read_network(folder))
    >>> forcing.dims, forcing.attrs["units"], forcing.attrs["time_label"]
    (('time', 'reach'), 'm3 s-1', 'end')
    """
    paths = _forcing_files(files)
    rivers = dataset_of(network)
    wanted = None if rivers is None else exact_ids(rivers["reach"].values, "network reach")
    names = [variable] if isinstance(variable, str) else list(variable) if variable is not None else None
    parts = []
    for path in paths:
        with open_netcdf(path) as dataset:
            if "feature_id" not in dataset.variables:
                raise XRouteError(f"{path} is not a CHRTOUT file: it has no feature_id, but {some(dataset.variables)}")
            names = names or _choose(path)
            features = file_ids(dataset["feature_id"], path)
            _check_features(features, wanted, path)
            values = _sum(dataset, names, path)
            stamps = np.atleast_1d(dataset["time"].to_numpy()) if "time" in dataset.variables else np.empty(0)
            if len(stamps) != len(values) or not stamps.size:
                raise TimeAxisError(f"{path} has {len(stamps)} times and {len(values)} fields of {' + '.join(names)}")
        if wanted is not None:
            values, features = values[:, positions_of(wanted, features)], wanted
        parts.append(
            xr.DataArray(
                values,
                dims=("time", "reach"),
                coords={
                    "time": ("time", stamps, {"standard_name": "time", "long_name": "end of the step"}),
                    "reach": ("reach", features, {"cf_role": "timeseries_id", "long_name": "feature id"}),
                },
                name="runoff",
            )
        )
    assert names is not None
    runoff = concatenate(parts, paths, "time") if len(parts) > 1 else parts[0]
    runoff.attrs = {
        "long_name": "lateral inflow",
        "units": "m3 s-1",
        "source_variables": " + ".join(names),
        "time_label": "end",
    }
    return runoff


def _forcing_files(files: PathLike | Sequence[PathLike]) -> list[Path]:
    one = files if isinstance(files, str | os.PathLike) else files[0] if len(files) == 1 else None
    if one is not None and Path(one).is_dir():
        paths: list[Path] = find_files(one).get("forcing", [])
        if not paths:
            raise FileNotFoundError(f"no CHRTOUT files: {one}")
        return paths
    return expand_paths(files, "CHRTOUT")


def _choose(path: Path) -> list[str]:
    """Variables to read: the more finely packed of q_lateral and its two parts."""
    whole, parts = "q_lateral", ("qSfcLatRunoff", "qBucket")
    with open_netcdf(path, raw=True) as raw:
        has_whole, has_parts = whole in raw.variables, all(name in raw.variables for name in parts)
        if not has_whole and not has_parts:
            raise XRouteError(
                f"{path} has neither q_lateral nor qSfcLatRunoff and qBucket; it has {some(raw.data_vars)}"
            )
        step = {
            name: float(raw[name].attrs.get("scale_factor", 1.0)) if raw[name].dtype.kind in "iu" else 0.0
            for name in (whole, *parts)
            if name in raw.variables
        }
    if has_whole and (not has_parts or step[whole] <= max(step[name] for name in parts)):
        return [whole]
    if has_whole:
        logger.warning(
            "q_lateral is packed in units of %.3g m3/s; %s, in units of %.3g, is read instead (%s insists)",
            step[whole], " + ".join(parts), max(step[name] for name in parts), argument("variable", "q_lateral"),
        )  # fmt: skip
    return list(parts)


def _sum(dataset: xr.Dataset, names: Sequence[str], path: Path) -> np.ndarray:
    """Sum of variables as (time, feature)."""
    total: np.ndarray | None = None
    for name in names:
        if name not in dataset.variables:
            raise XRouteError(f"{path} has no variable {name!r}; it has {some(dataset.data_vars)}")
        array = dataset[name]
        units = str(array.attrs.get("units", "")).replace("^", "").replace("/", " ").split()
        if units not in ([], ["m3", "s-1"], ["m3", "s"]):
            raise XRouteError(f"{name} of {path} is in {array.attrs['units']!r}, not in m3 s-1")
        if "time" not in array.dims:
            array = array.expand_dims("time")
        values = array.transpose("time", "feature_id").to_numpy()
        total = values if total is None else total + values
    assert total is not None
    return total


def _check_features(features: np.ndarray, wanted: np.ndarray | None, path: Path) -> None:
    twice = repeated(features)
    if twice.size:
        raise AlignmentError(f"duplicate feature ids in {path}: {some(twice)}")
    if wanted is None:
        return
    missing = wanted[positions_of(wanted, features) < 0]
    if missing.size:
        raise AlignmentError(
            f"{missing.size} of the {wanted.size} reaches of the network are not in {path}: {some(missing)}; "
            + ("no id is in both: is this the file's network?" if missing.size == wanted.size
               else phrase("part", 'take a part of the network, or read without network= and route with missing="zero"'))
        )
    if features.size > wanted.size:
        logger.info("%d features of %s are not in the network and are left out", features.size - wanted.size, path)


def _read(
    sources: Sequence[Path], wanted: Sequence[Product], /, *, forcing: Sequence[Path] = (), variable: Sequence[str] = ()
) -> Setup:
    """Network of the first source; forcing of files that are named, of the other sources, or of the first one's folder."""
    places = list(forcing) or list(sources[1:]) or ([sources[0]] if sources[0].is_dir() else [])
    if "runoff" in wanted and not places:
        raise NothingToRead(f"runoff needs the forcing: {argument('forcing')}, or a source folder that holds it")
    network = read_network(sources[0])
    if "runoff" not in wanted:
        return Setup(network)
    return Setup(network, read_forcing(places, network, variable=variable or None).to_dataset())


READER = Reader(
    "Convert the National Water Model: a folder with RouteLink and CHRTOUT files, or a RouteLink file.",
    read=_read,
    find=lambda folder, options: find_files(folder),
    patterns=(*NETWORK_PATTERNS, *FORCING_PATTERNS),
    options=(
        ReaderOption("forcing", "CHRTOUT files or folder, when not in SOURCE.", "file", several=True),
        ReaderOption("variable", "Forcing variable; several are added up.", several=True),
    ),
)
