"""mizuRoute's series: runoff of HRUs, units or a grid, brought to reaches and simulation steps; and discharge of its history."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import AlignmentError, TimeAxisError, UnitsError, XRouteError, some, warn
from xroute.files.decoding import declare_default_fill, decode
from xroute.files.opening import PathLike, open_netcdf
from xroute.ids import exact_ids, positions_of, repeated, within
from xroute.io.common import concatenate, dataset_of, expand_paths, file_ids
from xroute.io.mizuroute.clock import TIME_UNITS, on_steps, repaired_units, simulation_steps
from xroute.io.mizuroute.control import Control, as_control, is_control
from xroute.io.mizuroute.mapping import Mapping, mapping_of_file, mapping_of_hrus
from xroute.times import with_bounds
from xroute.units import runoff_units

__all__ = ["ROUTED", "find_history", "read_discharge", "read_runoff"]

logger = logging.getLogger(__name__)

ROUTED = ("IRFroutedRunoff", "KWTroutedRunoff", "KWroutedRunoff", "MCroutedRunoff", "DWroutedRunoff", "RoutedRunoff")
"""Variables of discharge in history files; the first that is there is read where none is named."""
HISTORY = ("{case}.h.*.nc", "{case}.mizuroute.h.*.nc", "{case}_*.nc", "{case}*.nc")
HRU_NAMES = ("hruid", "hru_id", "hru", "polyid", "id")
BLOCK = 2**22
"""Values that are brought to reaches at a time."""


def read_runoff(source: Any, network: Any, *, files: Sequence[PathLike] | PathLike | None = None) -> xr.DataArray:
    """Read the runoff of a run, by its control file, as lateral inflow of reaches.

    Runoff of HRUs is multiplied by their areas; that of another model's units, or of a grid, is brought to HRUs by the file of
    weights before, all by mizuRoute's rules. It is repeated, or averaged, to simulation steps (``<dt_qsim>``), from
    ``<sim_start>`` to ``<sim_end>``.

    Parameters
    ----------
    source
        The control file, a `Control`, or the folder that holds it.
    network
        Network of `read_network`, with its HRUs.
    files
        Files of runoff, in place of ``<fname_qsim>``.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1], float64, on the network's reaches, in its order; ``time_label`` says what a time is of
        its step. Lazy where Dask is installed.

    Raises
    ------
    XRouteError
        Files or variables that are not there.
    AlignmentError
        HRUs, units or cells that are none of the network's, or of the weights'.
    UnitsError
        Units that are not metres or millimetres per second, hour or day.
    TimeAxisError, ParameterError
        Times that are not regular, and steps that do not fit one another.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> runoff = mizuroute.read_runoff(folder, mizuroute.read_network(folder))
    >>> runoff.dims, runoff.attrs["units"]
    (('time', 'reach'), 'm3 s-1')
    """
    control, rivers = as_control(source), dataset_of(network)
    assert rivers is not None
    paths = control.files("fname_qsim", "input_dir") if files is None else expand_paths(files)
    arrays, fills = zip(*(_opened(path, control) for path in paths), strict=True)
    runoff = concatenate(arrays, paths, "time") if len(arrays) > 1 else arrays[0]
    what = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    spatial = [d for d in runoff.dims if d != "time"]
    options = {**_options(control, runoff, what), "fill": next((f for f in fills if f is not None), None)}
    if control.flag("is_remap"):
        ids = None if len(spatial) == 2 else _unit_ids(runoff, what)
        shape = tuple(runoff.sizes[d] for d in spatial)
        file = control.file("fname_remap", "ancil_dir")
        mapping = mapping_of_file(rivers, file, control, shape, ids, what, **options)
    elif len(spatial) == 2:
        raise AlignmentError(f"{what} is on a grid ({some(spatial)}), and {control.path} has no weights for it (<is_remap> F)")
    else:
        mapping = mapping_of_hrus(rivers, _unit_ids(runoff, what), what, **options)
    label = (control.text("ro_time_stamp") or "start").strip().lower()
    steps = simulation_steps(runoff, control, what)
    if steps.repeat > 1 or steps.mean > 1:
        logger.info("runoff of %s is brought to %d steps of %g s (<dt_qsim>)", what, steps.count, steps.step)
    made = on_steps(_masked(runoff, options["fill"]) if steps.mean > 1 else runoff, steps, label)
    flow = _brought(made, mapping, rivers)
    flow.attrs = {
        "units": "m3 s-1", "long_name": "runoff of the HRUs of each segment", "source": what,
        "time_label": label if steps.repeat == steps.mean == 1 else "start", "time_step": steps.step,
    }  # fmt: skip
    return flow


def _opened(path: Path, control: Control) -> tuple[xr.DataArray, float | None]:
    """Runoff of a file (time, unit) or (time, row, column), not read yet; and its fill value, where it declares none."""
    raw = open_netcdf(path, raw=True)
    name = _named(raw, control, "vname_qsim", ("runoff",), path)
    time = _named(raw, control, "vname_time", ("time",), path)
    axis = control.text("dname_time") or "time"
    if axis not in raw[name].dims:
        axis = str(raw[time].dims[0]) if raw[time].ndim == 1 else axis
    grid: tuple[Any, ...] = (control.text("dname_ylat") or "lat", control.text("dname_xlon") or "lon")
    others = [d for d in raw[name].dims if d != axis]
    if axis not in raw[name].dims or len(others) not in (1, 2):
        raise XRouteError(f"{name} of {path} is on {some(raw[name].dims)}, and not on time and HRUs, or time and a grid")
    if len(others) == 2 and set(others) != set(grid):
        if set(others) & set(grid) or "dname_ylat" in control or "dname_xlon" in control:
            raise XRouteError(f"{name} of {path} is on {some(others)}, not on {some(grid)}, as <dname_ylat> and <dname_xlon> say")
        grid = tuple(map(str, others))
    raw[time].attrs = repaired_units(dict(raw[time].attrs), control)
    declared = any(key in raw[name].attrs for key in ("_FillValue", "missing_value"))
    given = control.number("input_fillvalue")
    fill = None if declared else -9999.0 if given is None else given
    units = raw[name].attrs.get("units")
    declare_default_fill(raw[name].variable)
    array = decode(raw[[name]].assign_coords({"time_": raw[time].variable}))[name]
    array = array.drop_vars([c for c in array.coords if c in ("time",) and c != time], errors="ignore")
    stamps = array["time_"].variable
    array = array.reset_coords(drop=True).drop_vars([axis], errors="ignore").rename({axis: "time"} if axis != "time" else {})
    array = array.assign_coords(time=("time", stamps.values, {k: v for k, v in stamps.attrs.items() if k != "bounds"}))
    if len(others) == 1:
        unit = _named(raw, control, "vname_hruid", HRU_NAMES, path, on=others[0])
        ids = file_ids(raw[unit].load(), path)
        array = array.rename({others[0]: "unit"} if others[0] != "unit" else {}).drop_vars(["unit"], errors="ignore")
        array = array.assign_coords(unit=("unit", ids, {"cf_role": "timeseries_id"})).transpose("time", "unit")
    else:
        array = array.transpose("time", *grid).drop_vars(list(grid), errors="ignore")
    return array.assign_attrs({} if units is None else {"units": units}), fill


def _named(raw: xr.Dataset, control: Control, tag: str, usual: Sequence[str], path: PathLike, on: Any = None) -> str:
    """The variable that a tag names, or one that is usually called so; ``on`` is the dimension that it must be on."""
    said = control.values.get(tag) or (control.text(tag) if control.text(tag) in raw.variables else None)
    small = {str(name).lower(): str(name) for name in raw.variables}
    name = said if said is not None else next((small[n] for n in usual if n in small), None)
    if name not in raw.variables or (on is not None and raw[name].dims != (on,)):
        where = "" if on is None else f" on {on!r}"
        wanted = said or control.text(tag)
        raise XRouteError(f"{path} has no variable {wanted!r}{where}; it has {some(raw.variables)}. <{tag}> names it")
    return str(name)


def _unit_ids(runoff: xr.DataArray, what: str) -> Any:
    ids = runoff["unit"].values
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} HRUs stand more than once in {what}: {some(twice)}")
    return ids


def _options(control: Control, runoff: xr.DataArray, what: str) -> dict[str, float]:
    """What values are multiplied by: by the control file's units, else those of the file."""
    its, said = runoff.attrs.get("units"), control.values.get("units_qsim")
    text = said or its
    if not text:
        raise UnitsError(f"{what} has no units, and {control.path} no <units_qsim>: m or mm, per second, hour or day, as in mm/s")
    factor = _metres_per_second(str(text))
    if factor is None:
        raise UnitsError(f"runoff of mizuRoute is in m or mm per second, hour or day, such as mm/s, not {text!r} (<units_qsim>)")
    if said and its:
        of_file = _metres_per_second(str(its))
        if of_file is not None and abs(of_file - factor) > 1e-9 * factor:
            warn(f"{what} has runoff in {its!r}, and {control.path} takes it for {said!r} (<units_qsim>), which counts")
    scale, offset = control.number("scale_factor_runoff"), control.number("offset_value_runoff")
    given = {"scale": scale, "offset": offset}
    kept = {name: value for name, value in given.items() if value is not None and value != -9999.0}
    return {"factor": factor, "least": control.number("runoffMin") or 0.0, **kept}


def _metres_per_second(text: str) -> float | None:
    """Metres per second of units of mizuRoute, or of others that mean a depth per time."""
    length, slash, time = text.strip().partition("/")
    seconds = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}
    unit = next((full for full, names in TIME_UNITS.items() if time.strip() in names), None)
    if slash and length.strip() in ("m", "mm") and unit is not None:
        return {"m": 1.0, "mm": 1e-3}[length.strip()] / seconds[unit]
    try:
        read = runoff_units(text)
    except UnitsError:
        return None
    return None if not read.is_depth or read.per_step else read.in_si


def _masked(runoff: xr.DataArray, fill: float | None) -> xr.DataArray:
    """Runoff without its fill value, so that means are those of the other records."""
    return runoff if fill is None else runoff.where(runoff != runoff.dtype.type(fill))


def _brought(runoff: xr.DataArray, mapping: Mapping, network: xr.Dataset) -> xr.DataArray:
    """Runoff (time, units or cells) brought to reaches, by blocks of time."""
    spatial = [d for d in runoff.dims if d != "time"]
    n = int(np.prod([runoff.sizes[d] for d in spatial]))
    per_block = max(BLOCK // max(n, 1), 1)

    def bring(values: Any) -> Any:
        flat = values.reshape(values.shape[0], n)
        parts = [mapping(flat[i : i + per_block]) for i in range(0, flat.shape[0], per_block)]
        return np.concatenate(parts) if parts else np.zeros((0, network.sizes["reach"]))

    lazy = runoff.chunks is not None or (not runoff.variable._in_memory and importlib.util.find_spec("dask") is not None)
    if lazy:
        chunks = {"time": per_block if runoff.chunks is None else "auto", **dict.fromkeys(spatial, -1)}
        data = runoff.chunk({d: c for d, c in chunks.items() if c != "auto"}).data
        made = data.map_blocks(
            bring, drop_axis=list(range(1, data.ndim)), new_axis=[1], chunks=(data.chunks[0], (network.sizes["reach"],)),
            dtype=np.float64, meta=np.empty((0, 0)),
        )  # fmt: skip
    else:
        made = bring(runoff.values)
    coords = {"time": runoff["time"], "reach": network["reach"]}
    return xr.DataArray(made, coords, ("time", "reach"), name="runoff")


# ── discharge ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_history(control: Control) -> list[Path]:
    """History files of a run, by its case's name, in its output folder; restarts are none."""
    folder = control.folder("output_dir")
    case = control.text("case_name") or ""
    if folder is None:
        return []
    for pattern in HISTORY:
        found = [p for p in sorted(folder.glob(pattern.format(case=case))) if ".r." not in p.name]
        if found:
            return found
    return []


def read_discharge(source: Any, network: Any = None, *, variable: str | None = None) -> xr.DataArray:
    """Read mizuRoute's discharge, of its history files.

    Parameters
    ----------
    source
        The control file, whose run's history is read; or a history file, several, a pattern, or a folder of them.
    network
        Network whose reaches and order the result takes, by id; by default those of the first file.
    variable
        Such as ``"IRFroutedRunoff"``; by default the first there is of IRF, KWT, KW, MC and DW.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1]; ``time_label`` says what a time is of its step, by ``time_bounds``, or the
        control file's ``<ro_time_stamp>`` where files have none.

    Raises
    ------
    XRouteError
        No such variable.
    AlignmentError
        Reaches of the network that are not in the files.
    TimeAxisError
        Files whose times overlap.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import mizuroute_folder
    >>> from xroute.io import mizuroute
    >>> folder = mizuroute_folder(f"{tempfile.mkdtemp()}/mizuroute", days=1)
    >>> mizuroute.read_discharge(folder / "tutorial.control").sizes["time"]
    24
    """
    control = source if isinstance(source, Control) else None
    if control is None and isinstance(source, str | Path) and is_control(source):
        control = as_control(source)
    files = find_history(control) if control is not None else expand_paths(source, "history")
    if not files:
        assert control is not None
        raise FileNotFoundError(f"no history of {control.text('case_name')!r} in <output_dir> of {control.path}")
    label = "start" if control is None else (control.text("ro_time_stamp") or "start").strip().lower()
    parts = [_history(file, variable, label) for file in files]
    array = concatenate(parts, files, "time") if len(parts) > 1 else parts[0]
    rivers = dataset_of(network)
    if rivers is None:
        return array
    wanted, ids = exact_ids(rivers["reach"].values, "network reach"), array["reach"].values
    lacking = wanted[~within(wanted, ids)]
    if lacking.size:
        raise AlignmentError(f"{lacking.size} of the network's {wanted.size} reaches are not in {files[0]}: {some(lacking)}")
    return array.isel(reach=positions_of(wanted, ids))


def _history(file: Path, variable: str | None, label: str) -> xr.DataArray:
    raw = open_netcdf(file, raw=True)
    name = variable or next((name for name in ROUTED if name in raw.variables), None)
    if name is None or name not in raw.variables:
        raise XRouteError(f"{file} has no variable {variable or ' or '.join(ROUTED)}; it has {some(raw.variables)}")
    if "reachID" not in raw.variables:
        raise XRouteError(f"{file} has no reachID, so that nobody knows which segment is which; it has {some(raw.variables)}")
    if "time" not in raw.variables:
        raise TimeAxisError(f"{file} has no time")
    ids = file_ids(raw["reachID"].load(), file)
    twice = repeated(ids)
    if twice.size:
        raise AlignmentError(f"{twice.size} segments stand more than once in {file}: {some(twice)}")
    raw["time"].attrs = repaired_units(dict(raw["time"].attrs), Control())
    bounds = next((b for b in ("time_bounds", "time_bnds") if b in raw.variables), None)
    if bounds is not None:
        raw["time"].attrs["bounds"] = bounds
    declare_default_fill(raw[name].variable)
    decoded = decode(raw[[n for n in (name, bounds) if n is not None]].assign_coords(time=raw["time"].variable))
    array = with_bounds(decoded, name, "time") if bounds is not None else decoded[name].assign_attrs(time_label=label)
    dim = next(d for d in array.dims if d != "time")
    array = array.rename({dim: "reach"}).reset_coords(drop=True).transpose("time", "reach")
    array = array.assign_coords(reach=("reach", ids, {"cf_role": "timeseries_id", "long_name": "segment id"}))
    kept = {k: v for k, v in array.attrs.items() if k.startswith("time_")}
    units = str(raw[name].attrs.get("units", "")).strip()  # another variable may be a volume
    units = "m3 s-1" if units in ("", "-", "m3/s", "m^3/s") else units
    array.attrs = {"units": units, "long_name": "discharge", "source_variables": name, **kept}
    array["time"].attrs.pop("bounds", None)
    array["time"].encoding.pop("bounds", None)
    return array.rename("discharge")
