"""Read the files of RAPID (David et al., 2011): connectivity, Muskingum parameters, runoff, discharge and initial flow.

RAPID stores much by position: ``k.csv``, ``x.csv``, old runoff files and ``Qinit.csv`` follow the rows of
``rapid_connect.csv``. The readers turn position into ids once, here, and remember it in the variable ``connect_row`` of
the network, so that everything after works by id. The recipe that reproduces RAPID's own discharge is ``route(...,
lateral="interval", substeps=ZS_TauR / ZS_dtR, sampling="start-mean")``.

David, C. H., et al. (2011): River network routing on the NHDPlus dataset. Journal of Hydrometeorology 12, 913-934.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import NetworkError, some, warn
from xroute.io.rapid_files import PATTERNS, find_files, read_floats, read_integers, read_namelist
from xroute.io.rapid_series import read_discharge, read_runoff, read_state

__all__ = ["find_files", "read_discharge", "read_namelist", "read_network", "read_runoff", "read_state"]

PathLike = str | os.PathLike[str]
logger = logging.getLogger(__name__)
OUTLET = -1


def read_network(
    folder_or_connect: PathLike | Sequence[PathLike],
    k: PathLike | None = None,
    x: PathLike | None = None,
    basin_ids: PathLike | None = None,
) -> xr.Dataset:
    """Read a RAPID network.

    Parameters
    ----------
    folder_or_connect
        A folder with ``rapid_connect.csv``, ``k.csv``, ``x.csv`` and, when there, ``riv_bas_id.csv``; or the
        connectivity file itself; or a list of folders, one a region. Regions are concatenated, and links from one to
        another are kept.
    k, x
        Muskingum parameters [s, 1], one a row of the connectivity file and in its order. With a connectivity file and
        neither of the two, the topology alone is read.
    basin_ids
        The ids to route, in the wanted order. Reaches not listed are left out.

    Returns
    -------
    xarray.Dataset
        On ``reach`` (int64 ids): ``downstream`` (-1 at outlets), ``downstream_id`` (the file's own value, which may be
        0, -1 or an id that is not in the file), ``k``, ``x``, ``connect_row`` (row in the connectivity file) and, with
        several regions, ``region``. Attributes count the outlets and the downstream ids that are not routed.

    Raises
    ------
    NetworkError
        Duplicate ids, unknown ids in ``basin_ids``, lengths that differ, files that are missing or not readable as ids,
        and upstream columns that contradict the downstream column.

    Warns
    -----
    UserWarning
        When reaches that are routed lie downstream of reaches that are not, so that water is missing from them.
    """
    if isinstance(folder_or_connect, Sequence) and not isinstance(folder_or_connect, str):
        if k is not None or x is not None or basin_ids is not None:
            raise NetworkError("k, x and basin_ids go with one connectivity file; several regions are given as folders")
        regions = [_region_files(folder) for folder in folder_or_connect]
        if not regions:
            raise NetworkError("no RAPID folder given")
    else:
        files = _region_files(folder_or_connect)
        given = {"k": k, "x": x, "basin_ids": basin_ids}
        regions = [files | {role: Path(path) for role, path in given.items() if path is not None}]
    tables = [_read_region(files) for files in regions]
    _refuse_duplicates([table["id"] for table in tables], [files["connect"] for files in regions])

    all_ids = np.concatenate([table["id"] for table in tables])
    all_downstream = np.concatenate([table["downstream"] for table in tables])
    if OUTLET in all_ids:
        raise NetworkError(f"{OUTLET} is an id in {regions[0]['connect']}, but it marks outlets")
    declared = np.concatenate([np.stack([t["id"][t["owner"]], t["upstream"]]) for t in tables], axis=1)
    _check_upstream(all_ids, all_downstream, declared, np.concatenate([table["checked"] for table in tables]))

    ids = np.concatenate([table["id"][table["rows"]] for table in tables])
    file_downstream = np.concatenate([table["downstream"][table["rows"]] for table in tables])
    downstream = np.where(np.isin(file_downstream, ids), file_downstream, OUTLET)
    left_out = ~np.isin(all_ids, ids)
    _tell_left_out(all_ids[left_out], all_downstream[left_out], declared, all_ids, ids)

    unknown = np.unique(file_downstream[(downstream == OUTLET) & (file_downstream > 0)])
    if unknown.size:
        logger.info("%d downstream ids are not routed, their reaches are outlets: %s", unknown.size, some(unknown))
    dataset = xr.Dataset(
        {
            "downstream": ("reach", downstream, {"long_name": "id of the reach downstream", "outlet": OUTLET}),
            "downstream_id": ("reach", file_downstream, {"long_name": "downstream id as it stands in the file"}),
            "connect_row": (
                "reach",
                np.concatenate([table["rows"] for table in tables]),
                {"long_name": "row in rapid_connect.csv, from 0"},
            ),
        },
        coords={"reach": ("reach", ids, {"cf_role": "timeseries_id", "long_name": "reach id"})},
        attrs={
            "source": "RAPID: " + ", ".join(_short(files["connect"]) for files in regions),
            "n_outlets": int((downstream == OUTLET).sum()),
            "n_downstream_ids_not_routed": int(unknown.size),
            "connect_rows": [int(table["id"].size) for table in tables],
        },
    )
    for name, attrs in (
        ("k", {"long_name": "Muskingum storage constant", "units": "s"}),
        ("x", {"long_name": "Muskingum weight", "units": "1"}),
    ):
        if all(name in table for table in tables):
            values = np.concatenate([table[name][table["rows"]] for table in tables])
            dataset[name] = ("reach", values, attrs)
    if "k" in dataset and "x" in dataset:
        dataset.attrs["scheme"] = "muskingum"
    if len(tables) > 1:
        region = np.repeat(np.arange(len(tables)), [table["rows"].size for table in tables])
        dataset["region"] = ("reach", region, {"long_name": "region, in the order given"})
    return dataset


def _short(path: Path) -> str:
    """A file and its folder: enough to know it again, without where it lay on the machine."""
    return f"{path.resolve().parent.name}/{path.name}"


def _region_files(folder_or_connect: PathLike) -> dict[str, Path]:
    """Files of one region, from its folder or its connectivity file."""
    path = Path(folder_or_connect)
    if path.is_file():
        return {"connect": path}
    if not path.exists():
        raise FileNotFoundError(f"no RAPID folder or connectivity file {path}")
    files = find_files(path)
    for role in ("connect", "k", "x"):
        if role not in files:
            raise NetworkError(
                f"no {' or '.join(PATTERNS[role])} in {path}; name the files: read_network(connect, k=, x=, basin_ids=)"
            )
    return files


def _read_region(files: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Columns of one region: id, downstream, upstream ids with their owner's row, k, x, and the rows to route."""
    connect = read_integers(files["connect"])
    if connect.shape[1] < 2:
        raise NetworkError(f"{files['connect']} has {connect.shape[1]} column; it needs id, downstream, ...")
    table = {"id": connect[:, 0].copy(), "downstream": connect[:, 1].copy()}
    n_upstream = connect[:, 2] if connect.shape[1] > 2 else np.zeros(0, np.int64)
    columns = connect[:, 3:]
    impossible = n_upstream[(n_upstream < 0) | (n_upstream > columns.shape[1])]
    if impossible.size:
        rows = np.flatnonzero((n_upstream < 0) | (n_upstream > columns.shape[1]))
        raise NetworkError(
            f"{files['connect']}: the number of upstream reaches does not fit the {columns.shape[1]} columns "
            f"that follow it, for reaches {some(table['id'][rows])}"
        )
    owner, column = np.nonzero(np.arange(columns.shape[1]) < n_upstream[:, None])
    table["owner"], table["upstream"] = owner, columns[owner, column]
    table["checked"] = np.full(len(connect), n_upstream.size > 0)

    for name in ("k", "x"):
        if name in files:
            values = read_floats(files[name])
            if values.size != len(connect):
                raise NetworkError(
                    f"{files[name]} has {values.size} values and {files['connect']} has {len(connect)} rows; "
                    f"they must be of the same length and order"
                )
            table[name] = values
    if "basin_ids" in files:
        wanted = read_integers(files["basin_ids"])[:, 0]
        duplicate = wanted[pd.Index(wanted).duplicated()]
        if duplicate.size:
            raise NetworkError(f"duplicate ids in {files['basin_ids']}: {some(duplicate)}")
        rows = pd.Index(table["id"]).get_indexer(wanted) if pd.Index(table["id"]).is_unique else np.arange(len(connect))
        if (rows < 0).any():
            raise NetworkError(
                f"{int((rows < 0).sum())} ids of {files['basin_ids']} are not in {files['connect']}: "
                f"{some(wanted[rows < 0])}"
            )
        table["rows"] = rows.astype(np.int64)
    else:
        table["rows"] = np.arange(len(connect))
    return table


def _refuse_duplicates(ids: Sequence[np.ndarray], names: Sequence[Path]) -> None:
    joined = pd.Index(np.concatenate(list(ids)))
    duplicate = joined[joined.duplicated()].unique()
    if len(duplicate):
        where = " and ".join(str(name) for name in names)
        raise NetworkError(f"{len(duplicate)} duplicate reach ids in {where}: {some(duplicate)}")


def _check_upstream(ids: np.ndarray, downstream: np.ndarray, declared: np.ndarray, checked: np.ndarray) -> None:
    """Compare the links of the downstream column with those of the upstream columns, where a reach has the latter."""
    index = pd.Index(ids)
    n = np.int64(ids.size)
    target = index.get_indexer(downstream)
    linked = np.flatnonzero((target >= 0) & checked[target])
    by_downstream = target[linked] * n + linked
    owner, source = index.get_indexer(declared[0]), index.get_indexer(declared[1])
    known = source >= 0
    by_upstream = owner[known] * n + source[known]
    conflict = np.setxor1d(by_downstream, by_upstream)
    if conflict.size:
        links = [f"{ids[key % n]} -> {ids[key // n]}" for key in conflict[:10]]
        raise NetworkError(
            f"the downstream column and the upstream columns contradict each other on {conflict.size} links: "
            f"{', '.join(links)}{', ...' if conflict.size > 10 else ''}; correct one of the two in rapid_connect.csv"
        )


def _tell_left_out(
    ids: np.ndarray, downstream: np.ndarray, declared: np.ndarray, all_ids: np.ndarray, routed: np.ndarray
) -> None:
    """Say how many reaches are left out, and warn when routed reaches lack their water."""
    if ids.size:
        logger.info("%d reaches are not in riv_bas_id and are left out: %s", ids.size, some(ids))
    feeding = ids[np.isin(downstream, routed)]
    outside = declared[1][~np.isin(declared[1], all_ids) & np.isin(declared[0], routed)]
    if feeding.size or outside.size:
        lost = np.concatenate([feeding, outside])
        warn(
            f"{lost.size} reaches that are not routed drain into reaches that are; their water is missing: "
            f"{some(lost)}"
        )
