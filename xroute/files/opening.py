"""Files of Datasets, opened: Zarr stores and netCDF files, told by their content, with ids kept exact.

Readers of other systems' netCDF open them here, too. `xroute.files.writing` writes what is opened here.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.exceptions import XRouteError, require, some
from xroute.files.decoding import declare_default_fill, decode
from xroute.guards import reading
from xroute.stores import is_array, is_consolidated, is_group
from xroute.wording import phrase

__all__ = ["existing", "is_installed", "only_match", "open_dataset", "open_netcdf", "stored_chunks", "suffix_format"]

PathLike = str | os.PathLike[str]
_SUFFIXES = {".zarr": "zarr", ".nc": "netcdf", ".nc4": "netcdf", ".netcdf": "netcdf", ".cdf": "netcdf"}


def suffix_format(path: PathLike) -> str:
    """``"zarr"`` or ``"netcdf"``, by the suffix of a path to write."""
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
        What is in the file, under its own names, dimensions and units.

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
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/network.nc"
    >>> xroute.io.write(network, path)
    >>> xroute.io.open_dataset(path)["reach"].dtype
    dtype('int64')
    """
    target = existing(path)
    if not target.is_dir():
        return open_netcdf(target)
    if not is_group(target):
        what = "a Zarr array, and not a group of them" if is_array(target) else "not a Zarr store"
        readers = phrase("other system", "xroute.io has readers of folders of other systems")
        raise XRouteError(f"{path} is a folder, but {what}; {readers}")
    require("zarr", feature="reading Zarr", extra="io")
    with reading(target, "as a Zarr store"):
        raw = xr.open_zarr(target, chunks=None, decode_cf=False, consolidated=is_consolidated(target))
        raw.encoding["source"] = str(path)
        return decode(raw)


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
    with reading(target), open(target, "rb", buffering=0) as stream:
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
    engine = next((e for e in engines if is_installed(e)), None)
    if engine is None:
        require("netCDF4", feature=f"reading {target.name}", extra="io")
    with reading(target, "as netCDF"):
        dataset = xr.open_dataset(target, engine=engine, decode_cf=False)
        if raw:
            return dataset
        for variable in dataset.variables.values():
            declare_default_fill(variable)
        return decode(dataset)


def existing(path: Any) -> Path:
    """Path of something that is there."""
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


def is_installed(engine: str) -> bool:
    """Whether xarray's engine has all that it needs (h5netcdf does not bring h5py with it)."""
    modules = {"netcdf4": ("netCDF4",), "h5netcdf": ("h5netcdf", "h5py"), "scipy": ("scipy",)}[engine]
    return all(importlib.util.find_spec(module) is not None for module in modules)


def only_match(folder: PathLike, patterns: Sequence[str], role: str) -> Path | None:
    """Find the one file of a folder that fits the first pattern with any match; None without a match."""
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


def stored_chunks(array: xr.DataArray | xr.Variable) -> dict[Hashable, int]:
    """Length of the chunks of the file that an array was opened from, by dimension, where it is known."""
    sizes = array.encoding.get("chunksizes")
    found: dict[Hashable, Any] = dict(zip(array.dims, sizes, strict=True)) if sizes and len(sizes) == array.ndim else {}
    found |= array.encoding.get("preferred_chunks") or {}
    return {d: int(max(n) if isinstance(n, tuple | list) else n) for d, n in found.items() if n}
