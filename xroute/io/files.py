"""Datasets on disk: any Dataset to and from Zarr or netCDF, with ids kept exact.

The format follows the suffix on writing and the content on reading. Writing goes to a temporary name beside the target
and is renamed when complete, so that a crash leaves no half file. Readers of other systems' netCDF open them here, too.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.bounds import time_encoding
from xroute.exceptions import XRouteError, require, some
from xroute.guards import reading, writing
from xroute.stamps import decodable
from xroute.state_form import is_state, with_checksum

__all__ = [
    "consolidate",
    "existing",
    "is_id_name",
    "locate",
    "mask_fill",
    "netcdf_variable",
    "open_dataset",
    "open_netcdf",
    "plain_dataset",
    "replacing",
    "suffix_format",
    "write",
    "write_all",
]

PathLike = str | os.PathLike[str]
#: Names of variables that hold ids, in the files of our users' systems (in small letters); see `is_id_name`.
ID_NAMES = frozenset(
    "reach downstream upstream_reach downstream_reach link to toid comid rivid linkno dslinkno next_down segment tosegment"
    " nextdown hru gru basin riv dwn feature river station gauge gage catchment".split()
)
#: Fill values of the netCDF library for variables that were never written and declare none.
DEFAULT_FILL: Mapping[str, Any] = {
    "i2": -32767, "i4": -2147483647, "i8": -9223372036854775806,
    "f4": np.float32(9.969209968386869e36), "f8": 9.969209968386869e36,
}  # fmt: skip
_SUFFIXES = {".zarr": "zarr", ".nc": "netcdf", ".nc4": "netcdf", ".netcdf": "netcdf", ".cdf": "netcdf"}


def suffix_format(path: PathLike) -> str:
    """``"zarr"`` or ``"netcdf"``, by the suffix of a path to write.

    Raises
    ------
    XRouteError
        For another suffix.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise XRouteError(f"a path is text or a pathlib.Path, not {path!r}")
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise XRouteError(f"cannot tell the format of {path} by its suffix: use .zarr for Zarr or .nc for netCDF")
    return _SUFFIXES[suffix]


def open_dataset(path: PathLike) -> xr.Dataset:
    """Open a Zarr store or a netCDF file, lazily and without Dask.

    Ids stay what they are in the file (int64 or str), whatever fill value they declare; variables with units of time
    (travel times such as ``k``) stay numbers. What the netCDF library puts where nothing was written is missing (NaN).

    Parameters
    ----------
    path
        A Zarr store (a folder) or a netCDF file.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError
        There is nothing at the path.
    XRouteError
        What is there is neither Zarr nor netCDF, or is damaged.
    ImportError
        The library for the format is not installed.

    Examples
    --------
    >>> network = open_dataset("network.zarr")  # doctest: +SKIP
    """
    target = existing(path)
    if not target.is_dir():
        return open_netcdf(target)
    if not any((target / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
        what = "a Zarr array, and not a group of them" if (target / ".zarray").exists() else "not a Zarr store"
        raise XRouteError(f"{path} is a folder, but {what}; `xroute convert` reads folders of other systems")
    require("zarr", feature="reading Zarr", extra="io")
    with reading(target, "as a Zarr store"):
        raw = xr.open_zarr(target, chunks=None, decode_cf=False, consolidated=_is_consolidated(target))
        raw.encoding["source"] = str(path)
        return _decode(raw)


def open_netcdf(path: PathLike, *, raw: bool = False) -> xr.Dataset:
    """Open a netCDF file (classic or HDF5-based) by its content, whatever its suffix.

    Parameters
    ----------
    path
        The file.
    raw
        Leave values as they are stored: no masking, scaling, or dates. Otherwise as `open_dataset`.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError, XRouteError, ImportError
        As `open_dataset`.
    """
    target = existing(path)
    if target.is_dir():
        raise XRouteError(f"{path} is a folder, where a netCDF file is expected")
    with reading(target), open(target, "rb") as stream:
        magic = stream.read(8)
    engines: tuple[str, ...]
    if magic[:4] in (b"CDF\x01", b"CDF\x02"):
        engines = ("netcdf4", "scipy")
    elif magic[:4] == b"CDF\x05":
        engines = ("netcdf4",)
    elif magic == b"\x89HDF\r\n\x1a\n":
        engines = ("netcdf4", "h5netcdf")
    else:
        raise XRouteError(f"{path} is not a netCDF file" + (" (it is empty)" if not magic else ""))
    engine = next((e for e in engines if _is_installed(e)), None)
    if engine is None:
        require("netCDF4", feature=f"reading {target.name}", extra="io")
    with reading(target, "as netCDF"):
        dataset = xr.open_dataset(target, engine=engine, decode_cf=False)
        if raw:
            return dataset
        for variable in dataset.variables.values():
            _declare_default_fill(variable)
        return _decode(dataset)


def _declare_default_fill(variable: xr.Variable) -> None:
    """Declare the fill value of records that were never written, where a file of numbers declares no other.

    Whole numbers that are not packed are left: their fill value may be an id, or a count.
    """
    packed = variable.dtype.kind in "iu" and "scale_factor" in variable.attrs
    if variable.dtype.kind != "f" and not packed:
        return
    declared = [variable.attrs[name] for name in ("_FillValue", "missing_value") if name in variable.attrs]
    default = DEFAULT_FILL.get(variable.dtype.str[1:])
    if default is not None and all(np.all(value != value) for value in declared):
        variable.attrs.pop("missing_value", None)
        variable.attrs["_FillValue"] = variable.dtype.type(default)


def existing(path: Any) -> Path:
    """Path of something that is there.

    Raises
    ------
    FileNotFoundError
        There is nothing, or a link to nothing.
    XRouteError
        It is no path, or a URL.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise XRouteError(f"a path is text or a pathlib.Path, not {path!r}")
    if "://" in os.fspath(path):
        raise XRouteError(f"{path} is a URL, and files of this machine are read here: open it with xarray.open_zarr")
    target = Path(path)
    with reading(target):
        if target.exists():
            return target
        broken = target.is_symlink()
    raise FileNotFoundError(f"{path} is a link to nothing" if broken else f"no file {path}")


def _is_installed(engine: str) -> bool:
    """Whether xarray's engine has all that it needs (h5netcdf does not bring h5py with it)."""
    modules = {"netcdf4": ("netCDF4",), "h5netcdf": ("h5netcdf", "h5py"), "scipy": ("scipy",)}[engine]
    return all(importlib.util.find_spec(module) is not None for module in modules)


def is_id_name(name: Hashable, variable: xr.Variable) -> bool:
    """Whether a variable says that it holds ids: by its role, as coordinate of its own dimension, or by its name."""
    small = str(name).lower()
    return (
        variable.attrs.get("cf_role") == "timeseries_id"
        or (variable.dims == (name,) and "units" not in variable.attrs)
        or small in ID_NAMES
        or small.endswith("id")
        or (small.startswith("downstream") and small != "downstream_area")
    )


def _decode(source: xr.Dataset) -> xr.Dataset:
    """Decode all but ids, which must not pass through floating point, and durations, which are parameters."""
    raw = source
    whole = {name: _whole_numbers(name, variable) for name, variable in raw.variables.items()}
    masked = {name: value is None for name, value in whole.items()}
    attrs = {name: dict(raw[name].attrs) for name, value in whole.items() if value is not None}
    for name, value in whole.items():
        if value is not None:
            for attribute in _PACKING:
                raw[name].attrs.pop(attribute, None)
            if value.dtype != raw[name].dtype:
                raw = _with_values(raw, name, value)
    times: Any = decodable(raw) or True  # the others stay numbers, which is told where they are needed, and of which file
    for variable in raw.variables.values():
        variable.encoding.setdefault("source", source.encoding.get("source"))
    decoded = xr.decode_cf(raw, mask_and_scale=masked, decode_times=times, decode_timedelta=False)  # type: ignore[arg-type]
    for name, given in attrs.items():  # kept, so that an id that is a fill value is refused where it is used
        decoded[name].encoding.update({key: given[key] for key in ("_FillValue", "missing_value") if key in given})
    for name in [n for n, v in decoded.variables.items() if isinstance(v.dtype, np.dtypes.StringDType)]:
        decoded = _with_values(decoded, name, np.array(decoded[name].to_numpy().tolist(), dtype=str))
    decoded.set_close(source.close)
    return decoded


_PACKING = ("_FillValue", "missing_value", "_Unsigned", "scale_factor", "add_offset")


def _whole_numbers(name: Hashable, variable: xr.Variable) -> np.ndarray | None:
    """Values of a variable that is, or could be, of ids, as whole numbers; None for what is to be decoded.

    Every series of integers in one dimension could be. Where it does not say so and has gaps, it is decoded if floating
    point holds it exactly: then it may be a parameter.
    """
    attrs = variable.attrs
    if variable.dtype.kind not in "iu" or variable.ndim > 1 or " since " in str(attrs.get("units", "")):
        return None
    named = is_id_name(name, variable)
    if attrs.get("scale_factor", 1) != 1 or attrs.get("add_offset", 0) != 0:
        if named and variable.dims == (name,):
            raise XRouteError(
                f"{name!r} holds ids packed with scale_factor={attrs.get('scale_factor')}, "
                f"add_offset={attrs.get('add_offset')}, which cannot be told exactly: store them as integers"
            )
        return None
    values = variable.to_numpy()
    if str(attrs.get("_Unsigned", "")).lower() in ("true", "false"):
        kind = "u" if str(attrs["_Unsigned"]).lower() == "true" else "i"
        values = values.view(f"{kind}{values.dtype.itemsize}")
    if named:
        return values
    fills = [value for key in _PACKING[:2] if key in attrs for value in np.atleast_1d(attrs[key])]
    gaps = np.isin(values, fills) if fills else np.zeros(values.shape, bool)
    exact = (
        not values.size or int(values[~gaps].max(initial=0)) < 2**53 and int(values[~gaps].min(initial=0)) > -(2**53)
    )
    return None if gaps.any() and exact else values


def _with_values(dataset: xr.Dataset, name: Hashable, values: np.ndarray) -> xr.Dataset:
    changed = dataset[name].copy(data=values)
    return dataset.assign_coords({name: changed}) if name in dataset.coords else dataset.assign({name: changed})


def mask_fill(array: xr.DataArray, *, zero_is_data: bool = False) -> xr.DataArray:
    """Replace fill values of a variable that was opened raw by NaN.

    Parameters
    ----------
    array
        As stored, with ``_FillValue`` and ``missing_value`` among its attributes if declared. Without, the netCDF
        library's default fill value is taken.
    zero_is_data
        A declared fill value of 0 is not believed (old RAPID files declare it, and their zeros are zeros).

    Returns
    -------
    xarray.DataArray
        The same, without the two attributes. Integers stay integers when nothing is masked.
    """
    declared = [array.attrs.get(name) for name in ("_FillValue", "missing_value")]
    fills = [value for item in declared if item is not None for value in np.atleast_1d(item)]
    if not fills:
        default = DEFAULT_FILL.get(array.dtype.str[1:])
        fills = [] if default is None else [default]
    if zero_is_data:
        fills = [value for value in fills if value != 0]
    attrs = {name: value for name, value in array.attrs.items() if name not in ("_FillValue", "missing_value")}
    values = array.to_numpy()
    masked = np.zeros(values.shape, bool)
    for value in fills:
        masked |= values == value
    if masked.any():
        array = array.copy(
            data=np.where(masked, np.nan, values).astype(values.dtype if values.dtype.kind == "f" else float)
        )
    array = array.copy(deep=False)
    array.attrs = attrs
    return array


def locate(folder: PathLike, patterns: Sequence[str], role: str) -> Path | None:
    """Find the one file of a folder that fits the first pattern with any match; None without a match.

    Raises
    ------
    XRouteError
        Several files fit.
    """
    for pattern in patterns:
        matches = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
        if len(matches) > 1:
            names = some([path.name for path in matches])
            raise XRouteError(
                f"several files in {folder} could be the {role} ({pattern}): {names}; name the one to use"
            )
        if matches:
            return matches[0]
    return None


@contextmanager
def replacing(path: PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises
    ------
    FileExistsError
        ``path`` exists and ``overwrite`` is False.
    FileNotFoundError
        The folder that should hold it does not exist.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} to write {target.name} in")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; overwrite=True (--overwrite) replaces it")
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        yield temporary
        if target.is_dir():
            old = temporary.with_name(temporary.name + ".old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            if temporary.is_file():  # a power cut after the renaming must not leave an empty file under the name
                with open(temporary, "r+b") as file:
                    os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write(dataset: xr.Dataset, path: PathLike, *, overwrite: bool = False, compression: int = 0) -> None:
    """Write a Dataset to Zarr or netCDF, by the suffix of ``path``.

    Parameters
    ----------
    dataset
        Network, runoff, discharge or state. Encodings that it brings from another file are not kept.
    path
        ``*.zarr`` or ``*.nc``.
    overwrite
        Replace what is at the path.
    compression
        Deflate level of floating-point variables in netCDF, 0 to 9 (0: none). Zarr compresses by itself.

    Raises
    ------
    FileExistsError
        There is something at the path and ``overwrite`` is False.
    XRouteError
        Another suffix.
    ImportError
        The library for the format is not installed.
    """
    write_all([(dataset, path)], overwrite=overwrite, compression=compression)


def write_all(
    datasets: Sequence[tuple[xr.Dataset, PathLike]], *, overwrite: bool = False, compression: int = 0
) -> None:
    """`write` several Datasets, all of them or none: names are given when the last is complete."""
    kinds = [suffix_format(path) for _, path in datasets]
    engines = [_writer(kind) for kind in kinds]
    with ExitStack() as stack:
        drafts = [stack.enter_context(replacing(path, overwrite=overwrite)) for _, path in datasets]
        for (dataset, path), kind, engine, draft in zip(datasets, kinds, engines, drafts, strict=True):
            with writing(path):
                _put(dataset, draft, kind, engine, compression)


def _put(dataset: xr.Dataset, path: Path, kind: str, engine: Any, compression: int) -> None:
    if is_state(dataset):
        dataset = with_checksum(dataset)
    plain, encoding = plain_dataset(dataset)
    if kind == "zarr":
        plain.to_zarr(path, mode="w", consolidated=False, encoding=encoding)
        consolidate(path)
        return
    for name, variable in plain.variables.items():
        if compression and variable.dtype.kind == "f" and variable.ndim:
            encoding.setdefault(str(name), {}).update(zlib=True, complevel=compression, shuffle=True)
    plain.to_netcdf(path, engine=engine, encoding=encoding)


@contextmanager
def netcdf_variable(dataset: xr.Dataset, path: Path, name: str, chunks: tuple[int, ...]) -> Iterator[Any]:
    """A variable of a new netCDF file, to be written slice by slice; all else of the Dataset is written at once.

    Parameters
    ----------
    dataset
        With the variable on Dask, of which nothing is computed.
    path
        The file.
    name
        The variable.
    chunks
        Its chunks.
    """
    plain, encoding = plain_dataset(dataset)
    encoding.setdefault(name, {})["chunksizes"] = chunks
    engine = _writer("netcdf")
    rest = plain.to_netcdf(path, engine=engine, encoding=encoding, compute=False)  # type: ignore[call-overload]
    del rest  # closes the file
    gc.collect()
    library = importlib.import_module("netCDF4" if engine == "netcdf4" else "h5netcdf.legacyapi")
    with library.Dataset(path, "a") as file:
        if engine == "netcdf4":
            file.set_auto_maskandscale(False)
        yield file[name]


def consolidate(store: Any) -> None:
    """Gather a Zarr store's metadata, without which `xarray.open_zarr` warns that opening is slow."""
    zarr = require("zarr", feature="writing Zarr", extra="io")
    with warnings.catch_warnings():
        # Zarr 3 warns of what xarray wants: https://github.com/zarr-developers/zarr-specs/pull/309
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
        zarr.consolidate_metadata(str(store) if isinstance(store, Path) else store)


def _is_consolidated(store: Path) -> bool:
    if (store / ".zmetadata").exists():
        return True
    metadata = store / "zarr.json"
    return metadata.exists() and json.loads(metadata.read_text()).get("consolidated_metadata") is not None


def _writer(kind: str) -> str:
    """Engine that writes a format, or the error that says what to install."""
    if kind == "zarr":
        require("zarr", feature="writing Zarr", extra="io")
        return "zarr"
    if not _is_installed("netcdf4") and _is_installed("h5netcdf"):
        return "h5netcdf"
    require("netCDF4", feature="writing netCDF", extra="io")
    return "netcdf4"


def plain_dataset(dataset: xr.Dataset) -> tuple[xr.Dataset, dict[str, dict[str, Any]]]:
    """Return the Dataset as it is to be written, and its encoding: no fill value for ids, text of variable length."""
    dataset = dataset.drop_encoding()
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "U":
            text = dataset[name].copy(data=variable.to_numpy().astype(object))
            dataset = dataset.assign_coords({name: text}) if name in dataset.coords else dataset.assign({name: text})
        elif variable.dtype.kind in "iu":
            encoding[str(name)] = {"_FillValue": None}
    return dataset, encoding | time_encoding(dataset)
