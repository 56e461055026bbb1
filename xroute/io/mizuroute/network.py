"""mizuRoute's river network, as the files have it: segments, and the HRUs that drain to them; and how a run routes it.

HRUs stay beside the reaches, on a dimension ``hru`` of their own, so that nothing is lost on the way home: runoff of HRUs is
brought to reaches by them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, ParameterError, some, warn
from xroute.files.decoding import mask_fill
from xroute.files.opening import PathLike, open_netcdf
from xroute.ids import distinct, is_missing, positions_of, repeated, within
from xroute.io.common import file_ids
from xroute.io.mizuroute.control import Control, as_control, read_control, read_parameters
from xroute.io.mizuroute.control import is_control as is_control_file
from xroute.network import Network
from xroute.schemes.mizuroute import irf_taps
from xroute.units import to_si

__all__ = ["HRU", "HRU_AREA", "HRU_REACH", "SCHEME", "read_network"]

logger = logging.getLogger(__name__)

SCHEME = "mizuroute_irf"
INSTANT = 1e-3
"""Scale of a hillslope that lets all runoff through at once [s]."""
HRU, HRU_REACH, HRU_AREA = "hru", "hru_reach", "hru_area"
"""Ids of HRUs, the reach that each drains to, and their areas [m2]."""
TOO_SHORT, INSTEAD = 0.0, 100.0
"""A segment of this length or less is given the other one, in metres, as mizuRoute does."""
DEFAULT_PARAMETERS: Mapping[str, float] = {"fshape": 2.5, "tscale": 86400.0, "velo": 1.5, "diff": 5000.0}
"""Those of mizuRoute's own namelist."""
NAMES: Mapping[str, tuple[str, ...]] = {
    "varname_segId": ("segid", "seg_id"), "varname_downSegId": ("downsegid", "tosegment", "down_seg_id", "to_segment"),
    "varname_HRUid": ("hruid", "hru_id"), "varname_hruSegId": ("hrusegid", "hrutosegid", "seg_hru_id", "hru_seg_id"),
    "varname_length": ("length",), "varname_slope": ("slope",),
    "varname_area": ("area", "hru_area", "basin_area", "contarea"),
}  # fmt: skip
"""What variables are called where a control file does not say, in any capitals; mizuRoute's own defaults first."""
TEXT = {"length": ("m", "length of the segment"), "slope": ("1", "slope of the segment")}


def read_network(
    path: Any,
    parameters: PathLike | Mapping[str, float] | None = None,
    *,
    seg_outlet: int | None = None,
) -> xr.Dataset:
    """Read mizuRoute's network, with its routing recipe.

    Parameters
    ----------
    path
        The control file, the folder that holds it, or the netCDF file of segments and HRUs by itself.
    parameters
        Namelist, or a mapping of ``velo`` [m s-1], ``diff`` [m2 s-1], ``fshape`` and ``tscale`` [s]; by default what the
        control file names. A network without any has no scheme yet.
    seg_outlet
        Outlet of the part that is wanted, by default the control file's ``<seg_outlet>``.

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64): ``downstream`` (0 at outlets), ``downstream_id`` (as it stands in the file), ``length`` [m],
        ``slope``, ``area`` [m2] (the sum of its HRUs), and whatever else the file has on segments; on ``hru`` (ids):
        ``hru_reach`` (0 or negative: none) and ``hru_area`` [m2]. With parameters ``celerity`` and ``diffusivity``, and
        ``fshape`` and ``tscale``, one for all. Attributes say how mizuRoute routes: ``scheme``, ``lateral``,
        ``hillslope`` and ``routing_step`` [s]. Segments below ``<min_length_route>`` pass everything on at once
        (``scheme`` is then a variable). With ``<hw_drain_point> 1``, ``headwater_length`` [m] is the way of headwaters' runoff.

    Raises
    ------
    NetworkError
        Variables that are not there, ids that are missing or stand twice, HRUs of segments that are not there, lengths or areas
        that cannot be.
    ParameterError
        For impossible parameters, or options of the control file.
    FileNotFoundError
        If a file that the control file names is not there.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np, xarray as xr
    >>> from xroute.io import mizuroute
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> xr.Dataset({
    ...     "segId": ("seg", [7, 9]), "downSegId": ("seg", [9, 0]), "length": ("seg", [5e3, 8e3]), "slope": ("seg", [1e-3, 1e-3]),
    ...     "HRUid": ("hru", [71, 72, 91]), "hruSegId": ("hru", [7, 7, 9]), "area": ("hru", [2e6, 3e6, 4e6]),
    ... }).to_netcdf(folder / "topology.nc")
    >>> network = mizuroute.read_network(folder / "topology.nc", {"velo": 1.5, "diff": 5000.0})
    >>> network["area"].values, network.attrs["scheme"]
    (array([5000000., 4000000.]), 'mizuroute_irf')
    """
    control, file = _control_and_file(path)
    with open_netcdf(file, raw=True) as raw:
        names = _names(raw, control, file)
        dataset = _segments(raw, names, file)
        dataset = _with_hrus(dataset, raw, names, file)
    outlet = seg_outlet if seg_outlet is not None else _outlet(control)
    if outlet is not None:
        dataset = _part(dataset, outlet, file)
    return _with_recipe(dataset, control, _parameters(control, parameters))


def _control_and_file(path: Any) -> tuple[Control, Any]:
    """The control file, or mizuRoute's defaults where the network is given by itself; and the file of the network."""
    if isinstance(path, Control):
        control = path
    elif is_control_file(path):
        control = read_control(path)
    else:
        if not Path(path).is_dir():
            return Control(), Path(path)
        control = as_control(path)
    control.warn_of_what_is_not_here()
    return control, control.file("fname_ntopOld", "ancil_dir")


# ── segments and HRUs ─────────────────────────────────────────────────────────────────────────────────────────────────


def _names(raw: xr.Dataset, control: Control, file: PathLike) -> dict[str, str]:
    """What the variables of a file are called, by the tags of control files."""
    small = {str(name).lower(): str(name) for name in raw.variables}
    found = {}
    for tag, usual in NAMES.items():
        said = control.values.get(tag)
        name = said if said in raw.variables else next((small[n] for n in usual if n in small), None) if said is None else None
        if name is not None:
            found[tag] = str(name)
        elif said is not None or tag in ("varname_segId", "varname_downSegId"):
            what = f"{said!r}, which <{tag}> names" if said is not None else f"{control.text(tag)!r}"
            raise NetworkError(
                f"{file} has no variable {what}; it has {some(raw.variables)}. A control file says what they are called: <{tag}>"
            )
    return found


def _ids(raw: xr.Dataset, name: str, file: PathLike) -> NDArray[np.int64]:
    """Ids of a variable, exact. mizuRoute's are whole numbers."""
    ids = file_ids(raw[name].load(), file, NetworkError)
    if ids.dtype.kind != "i":
        raise NetworkError(f"{name} of {file} holds text, and mizuRoute's ids are whole numbers")
    if raw[name].ndim != 1:
        raise NetworkError(f"{name} of {file} has the dimensions {some(raw[name].dims)}, where one is expected")
    return ids


def _targets(raw: xr.Dataset, name: str, file: PathLike) -> NDArray[np.int64]:
    """Ids of what things drain to; fill values are below zero, and mean nothing, as 0 does."""
    variable = raw[name].load()
    attrs = {k: v for k, v in variable.attrs.items() if k not in ("_FillValue", "missing_value")}
    fills = [v for k in ("_FillValue", "missing_value") for v in np.atleast_1d(variable.attrs.get(k, np.array([])))]
    ids = variable.copy(deep=False)
    ids.attrs = attrs
    values = ids.to_numpy()
    missing = np.isin(values, fills) | (is_missing(values) if values.dtype.kind == "f" else False)
    if missing.any():
        values = np.where(missing, -1, values)
        ids = ids.copy(data=values)
    return file_ids(ids, file, NetworkError)


def _segments(raw: xr.Dataset, names: Mapping[str, str], file: PathLike) -> xr.Dataset:
    ids, to = _ids(raw, names["varname_segId"], file), _targets(raw, names["varname_downSegId"], file)
    dim = raw[names["varname_segId"]].dims[0]
    if to.shape != ids.shape:
        raise NetworkError(f"{file} has {ids.size} segments and {to.size} values of {names['varname_downSegId']}")
    twice, bad = repeated(ids), ids <= 0
    if twice.size:
        raise NetworkError(f"{twice.size} segments stand more than once in {file}: {some(twice)}")
    if bad.any():
        raise NetworkError(f"{file} has {int(bad.sum())} segments whose ids are not above 0, which mean none: {some(ids[bad])}")
    inside = within(to, ids)
    unknown = distinct(to[~inside & (to > 0)])
    if unknown.size:
        logger.info("%d segments downstream are not in %s, so that theirs are outlets: %s", unknown.size, file, some(unknown))
    dataset = xr.Dataset(
        {
            "downstream": ("reach", np.where(inside, to, 0), {"long_name": "id of the segment downstream", "outlet": 0}),
            "downstream_id": ("reach", to, {"long_name": "segment downstream as it stands in the file"}),
        },
        {"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "segment id"})},
        {"source": f"mizuRoute: {getattr(file, 'name', file)}"},
    )
    renamed = {names[tag]: tag.removeprefix("varname_") for tag in ("varname_length", "varname_slope") if tag in names}
    skipped = {names["varname_segId"], names["varname_downSegId"], str(dim)}
    for name, variable in raw.variables.items():
        ours = renamed.get(str(name), str(name))
        if variable.dims == (dim,) and name not in skipped and variable.dtype.kind in "iuf" and ours not in dataset.variables:
            dataset[ours] = ("reach", _numbers(raw[name], ours, file), _attrs(variable, ours))
    places = [name for name in ("lon", "lat") if name in dataset]
    return _with_lengths(dataset.set_coords(places), file)


def _numbers(variable: xr.DataArray, ours: str, file: PathLike) -> NDArray[Any]:
    variable = variable.load()
    if ours in TEXT:
        values = mask_fill(variable)
        of_file = f"{variable.name} of {file}"
        return to_si(values, TEXT[ours][0], of_file) if _has_units(values) else np.asarray(values, np.float64)
    return mask_fill(variable).to_numpy() if variable.dtype.kind == "f" else variable.to_numpy()


def _has_units(variable: xr.DataArray | xr.Variable) -> bool:
    return str(variable.attrs.get("units", "-")).strip() not in ("", "-", "1", "m/m", "none")


def _attrs(variable: xr.Variable, ours: str) -> dict[str, Any]:
    kept = {k: v for k, v in variable.attrs.items() if k in ("long_name", "units", "standard_name")}
    if ours in TEXT:
        return {"long_name": TEXT[ours][1], "units": TEXT[ours][0]}
    if str(kept.get("units", "")).strip() in ("", "-"):
        kept.pop("units", None)
    return kept


def _with_lengths(dataset: xr.Dataset, file: PathLike) -> xr.Dataset:
    """Lengths that can be routed: of none, mizuRoute makes 100 m."""
    if "length" not in dataset:
        return dataset
    length, ids = dataset["length"].values, dataset["reach"].values
    missing = ~np.isfinite(length)
    if missing.any():
        raise NetworkError(f"{file}: the length of {int(missing.sum())} segments is missing: {some(ids[missing])}. Give them one")
    short = length <= TOO_SHORT
    if short.any():
        warn(
            f"{file}: the length of {int(short.sum())} segments is {TOO_SHORT:g} or less: {some(ids[short])}. They are given "
            f"{INSTEAD:g} m, as mizuRoute does"
        )
        dataset["length"] = dataset["length"].copy(data=np.where(short, INSTEAD, length))
    return dataset


def _with_hrus(dataset: xr.Dataset, raw: xr.Dataset, names: Mapping[str, str], file: PathLike) -> xr.Dataset:
    """With HRUs beside the reaches, and the area of each reach; a file without HRUs has neither."""
    tags = ("varname_HRUid", "varname_hruSegId", "varname_area")
    if not all(tag in names for tag in tags):
        logger.info("%s has no HRUs (%s): reaches have no area", file, some(t for t in tags if t not in names))
        return dataset
    unit, of, size = (names[tag] for tag in tags)
    ids, to = _ids(raw, unit, file), _targets(raw, of, file)
    area = mask_fill(raw[size].load())
    values = to_si(area, "m2", f"{size} of {file}") if _has_units(area) else np.asarray(area.values, np.float64)
    if not ids.shape == to.shape == values.shape:
        raise NetworkError(f"{file} has {ids.size} HRUs, {to.size} values of {of} and {values.size} of {size}")
    twice = repeated(ids)
    if twice.size:
        raise NetworkError(f"{twice.size} HRUs stand more than once in {file}: {some(twice)}")
    drains = to > 0
    lost = drains & ~within(to, dataset["reach"].values)
    if lost.any():
        raise NetworkError(
            f"{int(lost.sum())} HRUs of {file} drain to segments that are not there: HRUs {some(ids[lost])} to {some(to[lost])}. "
            "Those that drain to none have 0 or less"
        )
    bad = drains & ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise NetworkError(f"{file}: the area of {int(bad.sum())} HRUs is missing or negative: {some(ids[bad])}")
    if not drains.all():
        logger.info("%d of %d HRUs of %s drain to no segment: their runoff is left out", int((~drains).sum()), ids.size, file)
    at = positions_of(to[drains], dataset["reach"].values)
    total = np.bincount(at, values[drains], dataset.sizes["reach"])
    return dataset.assign(
        area=("reach", total, {"units": "m2", "long_name": "area of the HRUs that drain to the segment"}),
        hru_reach=(HRU, to, {"long_name": "segment that the HRU drains to, 0 or negative for none"}),
        hru_area=(HRU, values, {"units": "m2", "long_name": "area of the HRU"}),
    ).assign_coords({HRU: (HRU, ids, {"long_name": "HRU id"})})


def _outlet(control: Control) -> int | None:
    number = control.number("seg_outlet")
    return None if number is None or number <= 0 else int(str(control.text("seg_outlet")).split()[0])


def _part(dataset: xr.Dataset, outlet: int, file: PathLike) -> xr.Dataset:
    """What is upstream of an outlet, with its HRUs."""
    if not within(np.array([outlet]), dataset["reach"].values).all():
        raise NetworkError(f"{file} has no segment {outlet}, which is to be the outlet (<seg_outlet>)")
    part = Network(dataset).basin(outlet).dataset
    if HRU in part.dims:
        part = part.isel({HRU: np.flatnonzero(within(part[HRU_REACH].values, part["reach"].values))})
    return part


# ── how it is routed ──────────────────────────────────────────────────────────────────────────────────────────────────


def _parameters(control: Control, given: Any) -> dict[str, float]:
    """Parameters that are given, or those of the control file's namelist; nothing where there is none."""
    if given is None and control.values.get("param_nml"):
        given = control.file("param_nml", "ancil_dir")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        given = read_parameters(given)
    unknown = set(given) - set(DEFAULT_PARAMETERS)
    if unknown:
        raise ParameterError(f"parameters are {', '.join(DEFAULT_PARAMETERS)}, not {some(sorted(map(str, unknown)))}")
    return {name: float(value) for name, value in given.items()}


def _with_recipe(dataset: xr.Dataset, control: Control, parameters: Mapping[str, float]) -> xr.Dataset:
    """With parameters, and attributes that say how mizuRoute steps."""
    dataset.attrs["lateral"] = "outlet"
    step = control.seconds("dt_qsim")
    if step is not None:
        dataset.attrs["routing_step"] = step
    routes, top = control.number("doesBasinRoute"), control.number("hw_drain_point")
    if routes not in (0, 1) or top not in (1, 2):
        raise ParameterError(
            f"{control.path}: <doesBasinRoute> is 0 or 1, and <hw_drain_point> 1 or 2, not "
            f"{control.text('doesBasinRoute')!r} and {control.text('hw_drain_point')!r}"
        )
    if {"velo", "diff"} <= set(parameters) and "length" in dataset:
        dataset["celerity"] = ((), parameters["velo"], {"units": "m s-1", "long_name": "celerity (velo)"})
        dataset["diffusivity"] = ((), parameters["diff"], {"units": "m2 s-1", "long_name": "diffusivity (diff)"})
        dataset.attrs["scheme"] = SCHEME
        dataset = _with_pass_through(dataset, control.number("min_length_route") or 0.0)
        _refuse_no_hydrograph(dataset, step)
        if top == 1:
            dataset = _with_headwaters(dataset)
    slope = {"fshape": 1.0, "tscale": INSTANT} if routes == 0 else parameters  # then nothing but the way along headwaters
    if routes == 0 and "headwater_length" not in dataset:
        dataset.attrs["hillslope"] = "none"
    elif {"fshape", "tscale"} <= set(slope):
        dataset["fshape"] = ((), slope["fshape"], {"units": "1", "long_name": "shape of the gamma distribution"})
        dataset["tscale"] = ((), slope["tscale"], {"units": "s", "long_name": "scale of the gamma distribution"})
        dataset.attrs["hillslope"] = "gamma-mizuroute"
    elif parameters and control.path is not None:
        raise ParameterError(f"{control.path}: <doesBasinRoute> is 1, and the namelist has no fshape and tscale")
    return dataset


def _with_pass_through(dataset: xr.Dataset, least: float) -> xr.Dataset:
    """With segments that are too short to be routed, which pass everything on at once."""
    short = dataset["length"].values <= least
    if least <= 0 or not short.any():
        return dataset
    logger.info("%d segments of up to %g m pass their inflow on at once (<min_length_route>)", int(short.sum()), least)
    del dataset.attrs["scheme"]
    return dataset.assign(
        scheme=("reach", np.where(short, "pure_lag", SCHEME), {"long_name": "routing scheme"}),
        delay=("reach", np.zeros(short.size), {"units": "s", "long_name": "travel time of segments that are not routed"}),
    )


def _refuse_no_hydrograph(dataset: xr.Dataset, step: float | None) -> None:
    """Refuse segments whose wave passes within the first hour, or after the last one of mizuRoute's hydrograph."""
    import torch

    routed = dataset["scheme"].values == SCHEME if "scheme" in dataset else np.ones(dataset.sizes["reach"], bool)
    length = torch.as_tensor(dataset["length"].values[routed])
    one = torch.ones_like(length)
    wave = {name: one * float(dataset[name]) for name in ("celerity", "diffusivity")}
    taps, _ = irf_taps(step or 3600.0, 1, length=length, **wave)
    bad = np.isnan(taps[:, 0].numpy())
    if bad.any():
        ids = dataset["reach"].values[routed][bad]
        raise ParameterError(
            f"mizuRoute's hydrograph of {int(bad.sum())} segments is empty: {some(ids)}, of lengths "
            f"{some(length.numpy()[bad], 3)} m. By velo and diff, their wave passes between whole hours, or after 240 hours: "
            'check lengths and units, or route by scheme "hayami"'
        )


def _with_headwaters(dataset: xr.Dataset) -> xr.Dataset:
    """With the length of headwaters, at whose top their runoff joins: what has no HRUs upstream of it."""
    network = Network(dataset)
    up, down, _ = network.links
    wet = dataset["area"].values > 0 if "area" in dataset else np.ones(network.n_reaches, bool)
    below = np.full(network.n_reaches, -1)
    below[up] = down
    fed = np.zeros(network.n_reaches, bool)
    for reach in network.plan.order:
        if below[reach] >= 0:
            fed[below[reach]] |= wet[reach] or fed[reach]
    routed = dataset["scheme"].values == SCHEME if "scheme" in dataset else np.ones(network.n_reaches, bool)
    length = np.where(~fed & routed, dataset["length"].values, 0.0)
    attrs = {"units": "m", "long_name": "length of a headwater that routes its own runoff, 0 for none"}
    return dataset.assign(headwater_length=("reach", length, attrs))
