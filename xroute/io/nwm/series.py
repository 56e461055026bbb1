"""Lateral inflow and streamflow of the National Water Model (CHRTOUT), of files, tables and stores."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xroute.exceptions import XRouteError, some
from xroute.files.opening import PathLike
from xroute.io.nwm.hours import read_hours
from xroute.settings import Label
from xroute.wording import argument

__all__ = ["read_discharge", "read_forcing", "read_runoff"]

logger = logging.getLogger(__name__)

INFLOW, PARTS, STREAMFLOW = "q_lateral", ("qSfcLatRunoff", "qBucket"), "streamflow"


def read_runoff(
    files: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    variable: str | Sequence[str] | None = None,
    label: Label | None = None,
    start: Any = None,
    dt: Any = None,
) -> xr.DataArray:
    """Read lateral inflow, matched by id and sorted by time.

    Parameters
    ----------
    files
        CHRTOUT files of an hour each; a Zarr store of the retrospective, which is not read until it is needed; or tables of
        version 4 (``*.csv``, ``*.parquet``), a row a feature and a column a time. One, several, a glob pattern, or a folder that
        holds them (itself, or in ``channel_forcing``).
    network
        Network or its Dataset: the result takes its reaches in its order. By default the features of the first file.
    variable
        ``"q_lateral"``, or several variables to add up. By default ``q_lateral`` or the sum of ``qSfcLatRunoff``
        and ``qBucket``, whichever the files have. Where they have both, the one that is packed more finely is taken:
        some releases store ``q_lateral`` in units of 0.1 m3/s, which loses most of the inflow of small reaches.
    label
        What a time is of its step. By default ``"end"`` for CHRTOUT, which is stamped with its valid time, and ``"start"`` for
        tables, whose columns t-route applies to the step that begins there.
    start, dt
        The first time and the step (seconds, or text like ``"1h"``), for tables whose columns are counted, not dated.

    Returns
    -------
    xarray.DataArray
        ``runoff`` (time, reach) [m3 s-1]. Time is the file's own; the attribute ``time_label`` says what it is of the step.
        What is masked in the files is NaN. ``source_variables`` says what was read.

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
    >>> runoff = nwm.read_runoff(folder, nwm.read_network(folder))
    >>> runoff.dims, runoff.attrs["units"], runoff.attrs["time_label"]
    (('time', 'reach'), 'm3 s-1', 'end')
    """
    names = [variable] if isinstance(variable, str) else list(variable) if variable is not None else None
    runoff = read_hours(files, network, names, _inflow, label=label, start=start, dt=dt)
    runoff.attrs = {"long_name": "lateral inflow", **runoff.attrs}
    return runoff.rename("runoff")


read_forcing = read_runoff
"""The name that `read_runoff` had first."""


def read_discharge(
    files: PathLike | Sequence[PathLike],
    network: Any = None,
    *,
    variable: str = STREAMFLOW,
    label: Label | None = None,
    start: Any = None,
    dt: Any = None,
) -> xr.DataArray:
    """Read the streamflow that the National Water Model computed, to compare with or to hold known.

    Parameters
    ----------
    files, network, label, start, dt
        As for `read_runoff`.
    variable
        Name of the variable; ``"streamflow_troute"`` is what t-route adds to CHRTOUT files.

    Returns
    -------
    xarray.DataArray
        ``discharge`` (time, reach) [m3 s-1], unpacked, of the moment at the end of each hour: ``time_label`` is ``"end"``. What
        is masked in the files is NaN.

    Raises
    ------
    AlignmentError, TimeAxisError, XRouteError
        As `read_runoff`.

    Examples
    --------
    >>> import tempfile
    >>> from xroute.datasets import nwm_folder
    >>> from xroute.io import nwm
    >>> folder = nwm_folder(tempfile.mkdtemp(), hours=2)
    >>> network = nwm.read_network(folder)
    >>> discharge = nwm.read_runoff(folder, network).route(network, scheme="muskingum_exact")
    >>> nwm.write_discharge(discharge, folder / "output")
    >>> nwm.read_discharge(folder / "output", network).attrs["time_label"]
    'end'
    """
    discharge = read_hours(files, network, [variable], _streamflow, label=label or "end", start=start, dt=dt)
    discharge.attrs = {"long_name": "discharge", "cell_methods": "time: point", **discharge.attrs}
    return discharge.rename("discharge")


def _streamflow(dataset: xr.Dataset, path: Path) -> list[str]:
    return [STREAMFLOW]


def _inflow(dataset: xr.Dataset, path: Path) -> list[str]:
    """Variables to read: the more finely packed of q_lateral and its two parts."""
    has_whole, has_parts = INFLOW in dataset.variables, all(name in dataset.variables for name in PARTS)
    if not has_whole and not has_parts:
        raise XRouteError(
            f"{path} has neither {INFLOW} nor {' and '.join(PARTS)}; it has {some(dataset.data_vars)}"
        )
    step = {name: _packed(dataset[name]) for name in (INFLOW, *PARTS) if name in dataset.variables}
    if has_whole and (not has_parts or step[INFLOW] <= max(step[name] for name in PARTS)):
        return [INFLOW]
    if has_whole:
        logger.warning(
            "q_lateral is packed in units of %.3g m3/s; %s, in units of %.3g, is read instead (%s insists)",
            step[INFLOW], " + ".join(PARTS), max(step[name] for name in PARTS), argument("variable", INFLOW),
        )  # fmt: skip
    return list(PARTS)


def _packed(array: xr.DataArray) -> float:
    """The unit in which a variable's numbers are stored; 0 for reals."""
    whole = np.dtype(array.encoding.get("dtype", array.dtype)).kind in "iu"
    return float(array.encoding.get("scale_factor", 1.0)) if whole else 0.0
