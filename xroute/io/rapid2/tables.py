"""RAPID2's tables: columns of Parquet files, by id."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, require, some
from xroute.ids import exact_ids

__all__ = ["read_column", "read_ids", "values_by_id"]

logger = logging.getLogger(__name__)


def read_column(path: Path, name: str) -> NDArray[Any]:
    """One column of a table."""
    parquet = require("pyarrow.parquet", feature="reading RAPID2's tables", extra="io")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        names = parquet.read_schema(path).names
        if name not in names:
            raise NetworkError(f"{path} has no column {name!r}; it has {some(names)}")
        column = parquet.read_table(path, columns=[name]).column(name)
    except NetworkError:
        raise
    except (OSError, ValueError) as error:  # Arrow's errors are of these kinds
        raise NetworkError(f"{path} is not readable as Parquet: {error}") from error
    if column.null_count and name in ("riv", "dwn"):
        raise NetworkError(f"{path}: {column.null_count} entries of {name!r} are missing, and ids must not be")
    return np.asarray(column.to_numpy())


def read_ids(path: Path, name: str) -> NDArray[np.int64]:
    """A column of ids."""
    ids = exact_ids(read_column(path, name), f"{name} of {path}")
    if ids.dtype.kind != "i":
        raise NetworkError(f"{path}: {name!r} holds text, and RAPID2's ids are whole numbers")
    if not ids.size:
        raise NetworkError(f"{path} is empty")
    return ids


def values_by_id(
    path: Path, name: str, ids: NDArray[np.int64], connect: Path, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Values of a table in the order of the connectivity's ``ids``; those that are not on ``rows`` to route need none."""
    have, values = pd.Index(read_ids(path, "riv")), read_column(path, name)
    if not have.is_unique:
        raise NetworkError(f"{path} has several values of reaches {some(have[have.duplicated()].unique())}")
    if values.dtype.kind not in "fiu":
        raise NetworkError(f"{path}: {name!r} holds {values.dtype}, not numbers")
    at = have.get_indexer(pd.Index(ids))
    lacking = ids[rows][at[rows] < 0]
    if lacking.size:
        raise NetworkError(f"{path} has no {name} of {lacking.size} reaches of {connect}: {some(lacking)}")
    extra = len(have) - int((at >= 0).sum())
    if extra:
        logger.info("%d reaches of %s are not in %s", extra, path.name, connect.name)
    return np.where(at >= 0, values.astype(np.float64)[at], np.nan)
