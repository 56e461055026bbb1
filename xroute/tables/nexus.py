"""NextGen's hydrofabric: flowpaths drain to a nexus, and a nexus to the next flowpath; here the nexuses are collapsed.

Ids bear a prefix: ``wb-`` (flowpath), ``cat-`` (its catchment, of the same number), ``nex-`` (nexus), and ``tnx-`` (once
``tnex-``), ``cnx-`` and ``inx-`` (terminal, coastal and inland nexuses, below which there is nothing to route). See the
hydrofabric of NOAA-OWP, version 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import NetworkError, some

__all__ = ["collapse", "is_nexus"]

TERMINAL = ("tnx-", "tnex-", "cnx-", "inx-")
NEXUS = ("nex-", *TERMINAL)
OUTLET = ""


def is_nexus(ids: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Which ids are of nexuses."""
    return _starts(ids, NEXUS)


def collapse(ids: NDArray[np.str_], to: NDArray[np.str_]) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
    """Links from flowpath to flowpath.

    Parameters
    ----------
    ids, to : str [row]
        Ids of flowpaths and of nexuses, in any order, and what each drains to.

    Returns
    -------
    kept : bool [row]
        Which rows are flowpaths.
    downstream : str [kept]
        The flowpath that each drains to; "" at outlets.
    """
    nexus = is_nexus(ids)
    reaches = {str(i) for i in ids[~nexus]}
    below: dict[str, str] = {}
    for name, target in zip(ids[nexus].tolist(), to[nexus].tolist(), strict=True):
        if below.setdefault(name, target) != target:
            raise NetworkError(f"nexus {name!r} drains to several flowpaths: {some([below[name], target])}")
    drains_to = [below.get(t, OUTLET if t.startswith(TERMINAL) else t) for t in to[~nexus].tolist()]
    lacking = sorted({t for t in drains_to if t.startswith(NEXUS)})
    if lacking and not below:
        raise NetworkError(
            f"the flowpaths drain to {len(lacking)} nexuses ({some(lacking)}), and the table has no rows of the nexus "
            "layer, which says what is below them. Read the whole GeoPackage (read_table finds both layers), or give both "
            "in one table: pandas.concat([flowpaths, nexus])"
        )
    if lacking:
        raise NetworkError(
            f"the flowpaths drain to {len(lacking)} nexuses that the nexus layer does not have: {some(lacking)}. Add them, "
            "or take what drains there out of the table"
        )
    return ~nexus, np.array([_flowpath(t, reaches) for t in drains_to], dtype=str)


def _flowpath(target: str, reaches: set[str]) -> str:
    """The flowpath that a nexus's target means: its catchment bears the same number, and number 0 is none."""
    if target in reaches:
        return target
    _, _, number = target.partition("-")
    if number == "0":
        return OUTLET
    return next((f"{prefix}-{number}" for prefix in ("wb", "cat", "fp") if f"{prefix}-{number}" in reaches), target)


def _starts(ids: NDArray[np.str_], prefixes: tuple[str, ...]) -> NDArray[np.bool_]:
    found = np.zeros(ids.shape, bool)
    for prefix in prefixes:
        found |= np.char.startswith(ids, prefix)
    return found
