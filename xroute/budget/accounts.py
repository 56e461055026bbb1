"""Where each reach's water counts: by basin, what comes in, leaves, is stored, and what is left unexplained. Plain arrays only.

A basin is all that drains to one outlet, along the largest fraction where rivers part (`Network.basins`). What another branch
takes to another basin is passed on from one to the other; what no branch takes leaves the network there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xroute.engine.plan import follow
from xroute.network import Network
from xroute.topology import drains_to

__all__ = ["TERMS", "Accounts", "Sums", "by_reach"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]

ROUNDING = 4 * np.finfo(np.float64).eps
"""What fractions that sum to one may lack of it."""


class Term(NamedTuple):
    """A term of the budget: what it is, its units, and with which sign it makes the residual."""

    long_name: str
    units: str = "m3"
    sign: int = 0


TERMS: Mapping[str, Term] = {
    "inflow": Term("runoff that came in", sign=1),
    "known_gain": Term("water gained (or lost, negative) where known discharge took the place of what was routed", sign=1),
    "from_other_basins": Term("water that came from (or went to, negative) other basins where rivers part", sign=1),
    "outflow": Term("discharge that left at the outlet", sign=-1),
    "left_by_fractions": Term("discharge that left where the fractions out of a reach sum to less than one", sign=-1),
    "storage_start": Term("water on its way to the outlet at the start", sign=1),
    "storage_end": Term("water on its way to the outlet at the end", sign=-1),
    "residual": Term("what the other terms leave unexplained"),
    "negative_steps": Term("values of discharge that are negative, counted over reaches and steps", "1"),
    "negative_volume": Term("volume of the values of discharge that are negative"),
}
"""All terms, in order: the residual is the sum of those with a sign."""


def residual_of(terms: Mapping[str, Any]) -> Any:
    """What the terms leave unexplained; positive where water is lost, negative where it is made."""
    return sum(term.sign * terms[name] for name, term in TERMS.items() if term.sign)


def sum_by(index: Index, values: Any, n: int) -> Float:
    """Sums [..., n] of values [..., m] that belong to the n entries of an index [m]."""
    values = np.asarray(values)
    result = np.zeros((*values.shape[:-1], n), np.result_type(values, np.float64))
    if index.size:
        order = np.argsort(index, kind="stable")
        ranked = index[order]
        first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        result[..., ranked[first]] = np.add.reduceat(values[..., order], first, axis=-1)
    return result


def by_reach(values: Any, row: Index | None) -> Any:
    """Values [..., reach] of values [..., row], ``row`` being that of each reach, or -1; zero on reaches without one."""
    if row is None:
        return values
    found = np.zeros((*values.shape[:-1], row.size))
    has = row >= 0
    found[..., has] = values[..., row[has]]
    return found


class Sums(NamedTuple):
    """What is summed of a series, or of a step of it [m3].

    Attributes
    ----------
    inflow : [..., basin]
        Runoff.
    into_known : [..., known]
        Runoff of the known reaches.
    volume : [..., counted]
        Discharge of the reaches that `Accounts.counted` names.
    held : [..., known]
        What flowed out of the known reaches: the known discharge, and where it is not known, what was routed.
    negative_steps, negative_volume : [..., basin]
        How many values of discharge are negative, and their volume.
    """

    inflow: Any
    into_known: Any
    volume: Any
    held: Any
    negative_steps: Any
    negative_volume: Any


class Accounts:
    """Which reach's water counts where.

    Parameters
    ----------
    network
        A network.
    known : [known]
        Positions of the reaches whose discharge is known, if any.
    whole
        Whether all basins are one.

    Attributes
    ----------
    outlet : int64 [basin]
        Positions of the outlets.
    basin : int64 [reach]
        Basin of each reach.
    counted : int64 [counted]
        Positions of the reaches whose discharge is part of the budget: outlets, reaches that water leaves for another basin
        or for nowhere, known ones and those that drain to them.
    """

    def __init__(self, network: Network, known: Index | None = None, *, whole: bool = False) -> None:
        up, down, fraction = network.links
        n = network.n_reaches
        is_outlet = np.bincount(up, minlength=n) == 0
        leaves = np.where(is_outlet, 0.0, 1.0 - np.bincount(up, fraction, n))
        leaves[np.abs(leaves) < ROUNDING] = 0.0
        self.n_reaches = n
        self.outlet: Index = np.flatnonzero(is_outlet)
        self.basin: Index = np.zeros(n, np.int64)
        if not whole:
            self.basin = np.searchsorted(self.outlet, follow(network.plan.order, drains_to(network.links, n)))
        self.n_basins = min(1, n) if whole else self.outlet.size
        self.known: Index = np.empty(0, np.int64) if known is None else np.asarray(known, np.int64)
        crosses = np.flatnonzero(self.basin[up] != self.basin[down])
        rank = np.full(n, -1)
        rank[self.known] = np.arange(self.known.size)
        into_known = np.flatnonzero(rank[down] >= 0)
        leaving = np.flatnonzero(leaves)
        wanted = (self.outlet, leaving, up[crosses], self.known, up[into_known])
        self.counted: Index = np.unique(np.concatenate(wanted)).astype(np.int64)
        at = np.full(n, -1)
        at[self.counted] = np.arange(self.counted.size)
        self._outlet, self._leaving = at[self.outlet], at[leaving]
        self._leaves = leaves[leaving], self.basin[leaving]
        self._cross = at[up[crosses]], fraction[crosses], self.basin[up[crosses]], self.basin[down[crosses]]
        self._feed = at[up[into_known]], fraction[into_known], rank[down[into_known]]

    def by_basin(self, values: Any) -> Float:
        """Sums [..., basin] of values [..., reach]."""
        return sum_by(self.basin, values, self.n_basins)

    def close(self, sums: Sums, start: Any, end: Any) -> dict[str, Float]:
        """Terms [..., basin] of the budget, of the water [..., reach] that is stored at the start and at the end [m3].

        What known discharge gains is found where it enters: what flows out of a known reach now, less what would flow out of it,
        which is what flows in, less what it stores more than before.
        """
        n, volume = self.n_basins, np.asarray(sums.volume)
        share, of = self._leaves
        source, fraction, giver, taker = self._cross
        passed = fraction * volume[..., source]
        feeder, part, fed = self._feed
        known = self.known
        into = sums.into_known + sum_by(fed, part * volume[..., feeder], known.size)
        routed = into - (end[..., known] - start[..., known])
        terms: dict[str, Float] = {
            "inflow": np.asarray(sums.inflow),
            "known_gain": sum_by(self.basin[known], sums.held - routed, n),
            "from_other_basins": sum_by(taker, passed, n) - sum_by(giver, passed, n),
            "outflow": sum_by(self.basin[self.outlet], volume[..., self._outlet], n),
            "left_by_fractions": sum_by(of, share * volume[..., self._leaving], n),
            "storage_start": self.by_basin(start),
            "storage_end": self.by_basin(end),
        }
        terms["residual"] = residual_of(terms)
        terms["negative_steps"], terms["negative_volume"] = sums.negative_steps, sums.negative_volume
        return {name: np.asarray(terms[name]) for name in TERMS}
