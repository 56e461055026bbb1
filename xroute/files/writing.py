"""Datasets to Zarr or netCDF, whole or not at all: under a temporary name first, which becomes the file's own at the end.

So a crash leaves no half file, and what was there before stays until the new is complete.
"""

from __future__ import annotations

import gc
import glob
import importlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from xroute.bounds import time_encoding
from xroute.exceptions import require
from xroute.files.opening import PathLike, is_installed, suffix_format
from xroute.files.plain import write_plain
from xroute.guards import writing
from xroute.state_form import is_state, with_checksum
from xroute.stores import consolidate
from xroute.wording import argument

__all__ = [
    "append_group", "netcdf_variable", "plain_dataset", "remove_drafts", "replacing", "write", "write_all", "write_netcdf",
    "write_table", "write_text",
]  # fmt: skip

DIGITS = 8
"""Of the random number in a temporary name."""

@contextmanager
def replacing(path: PathLike, *, overwrite: bool = False, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, renamed to it when the block ends well and removed when it does not.

    A file is on the disk before it has its name, so that a power cut leaves no empty one. With ``sync=False`` a name that
    nothing had yet is not waited for, as other programs do: for what can be made again.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder {target.parent} to write {target.name} in")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; {argument('overwrite', True)} replaces it")
    temporary = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:DIGITS]}{target.suffix}")
    try:
        yield temporary
        if target.is_dir():
            old = temporary.with_name(temporary.name + ".old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            if temporary.is_file() and (sync or target.exists()):  # or a power cut would cost what was there, too
                with open(temporary, "r+b") as file:
                    os.fsync(file.fileno())
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def remove_drafts(path: PathLike) -> None:
    """Remove files of the temporary names that `replacing` gives, which runs that were killed have left beside ``path``.

    For files that one run alone writes at a time, such as those of its progress: those of another run would go, too.
    """
    target = Path(path)
    stem, suffix = glob.escape(target.stem), glob.escape(target.suffix)
    for draft in target.parent.glob(f".{stem}.{'[0-9a-f]' * DIGITS}{suffix}"):
        if draft.is_file():
            draft.unlink(missing_ok=True)


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

    Examples
    --------
    >>> import tempfile, xroute
    >>> network, ds = xroute.datasets.tutorial()
    >>> path = tempfile.mkdtemp() + "/network.zarr"
    >>> xroute.io.write(network, path)
    >>> xroute.io.open_dataset(path).sizes["reach"]
    2312
    """
    write_all([(dataset, path)], overwrite=overwrite, compression=compression)


def write_all(
    datasets: Sequence[tuple[xr.Dataset, PathLike]], *, overwrite: bool = False, compression: int = 0, sync: bool = True
) -> None:
    """`write` several Datasets, all of them or none: names are given when the last is complete (``sync``: see `replacing`)."""
    kinds = [suffix_format(path) for _, path in datasets]
    engines = [_writer(kind) for kind in kinds]
    with ExitStack() as stack:
        drafts = [stack.enter_context(replacing(path, overwrite=overwrite, sync=sync)) for _, path in datasets]
        for (dataset, path), kind, engine, draft in zip(datasets, kinds, engines, drafts, strict=True):
            with writing(f"write {path}", target=path):
                _put(dataset, draft, kind, engine, compression)


def write_netcdf(
    dataset: xr.Dataset, path: PathLike, *, encoding: Mapping[str, Mapping[str, Any]], unlimited: Sequence[str] = (),
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a Dataset as it stands, in the layout of another system: what is encoded, and how, says the caller alone."""
    engine: Any = _writer("netcdf")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        dataset.drop_encoding().to_netcdf(draft, engine=engine, encoding=dict(encoding), unlimited_dims=list(unlimited))


def write_table(columns: Mapping[str, Any], path: PathLike, *, overwrite: bool = False) -> None:
    """Write columns, arrays of one length, as Parquet."""
    arrow = require("pyarrow", feature="writing Parquet", extra="io")
    parquet = require("pyarrow.parquet", feature="writing Parquet", extra="io")
    with replacing(path, overwrite=overwrite) as draft, writing(f"write {path}", target=path):
        parquet.write_table(arrow.table({name: arrow.array(values) for name, values in columns.items()}), draft)


def write_text(lines: Iterable[str], path: PathLike, *, overwrite: bool = False) -> None:
    """Write lines as text in UTF-8."""
    with replacing(path, overwrite=overwrite) as draft, open(draft, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


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
    if engine != "netcdf4" or not write_plain(plain, path, encoding):
        plain.to_netcdf(path, engine=engine, encoding=encoding)


@contextmanager
def netcdf_variable(dataset: xr.Dataset, path: Path, name: str, chunks: tuple[int, ...]) -> Iterator[Any]:
    """A variable (on Dask, not computed) of a new netCDF file, to be written slice by slice; all else is written at once."""
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


def append_group(dataset: xr.Dataset, path: Path, name: str) -> None:
    """Add a Dataset to a netCDF file, as a group of it."""
    plain, encoding = plain_dataset(dataset)
    engine: Any = _writer("netcdf")
    plain.to_netcdf(path, mode="a", group=name, engine=engine, encoding=encoding)


def _writer(kind: str) -> str:
    """Engine that writes a format, or the error that says what to install."""
    if kind == "zarr":
        require("zarr", feature="writing Zarr", extra="io")
        return "zarr"
    if not is_installed("netcdf4") and is_installed("h5netcdf"):
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
