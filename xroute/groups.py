"""Groups of reaches that share one learned value: by a variable of the network, Strahler order, basin or next gauge downstream.

What a caller names becomes `Groups`, in the network's order. What a group's value is, `xroute.bounded` knows; who learns it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.plan import follow
from xroute.exceptions import ParameterError, one_of, some
from xroute.ids import exact_ids, is_missing, within
from xroute.network import Network
from xroute.network_files import as_network
from xroute.reach_values import by_reach
from xroute.request import NetworkLike
from xroute.settings import FORM, GROUPING, Form
from xroute.topology import Links, drains_to

__all__ = ["Groups", "Learned", "learned_of", "reach_groups"]

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of some reaches.

    Attributes
    ----------
    of_reach : int64 [reach]
        Position of each reach's group among the labels.
    labels : [group]
        What the groups are called, each once.
    name
        What they are by: ``"strahler"``, the name of a variable, ...

    Raises
    ------
    ParameterError
        For positions that are none of a label's, and labels that stand twice.
    """

    of_reach: Index
    labels: NDArray[Any]
    name: str

    def __post_init__(self) -> None:
        of_reach, labels = np.asarray(self.of_reach), np.asarray(self.labels)
        if of_reach.ndim != 1 or of_reach.dtype.kind not in "iu" or labels.ndim != 1:
            raise ParameterError(
                f"groups {self.name!r} are positions [reach], whole numbers, and labels [group], not {of_reach.dtype} "
                f"{of_reach.shape} and {labels.dtype} {labels.shape}"
            )
        outside = (of_reach < 0) | (of_reach >= labels.size)
        if outside.any():
            raise ParameterError(
                f"groups {self.name!r}: {int(outside.sum())} positions are none of the {labels.size} labels': "
                f"{some(np.unique(of_reach[outside]))}"
            )
        twice = pd.Index(labels)[pd.Index(labels).duplicated()]
        if twice.size:
            raise ParameterError(f"labels of the groups {self.name!r} stand more than once: {some(twice)}")
        object.__setattr__(self, "of_reach", of_reach.astype(np.int64, copy=False))
        object.__setattr__(self, "labels", labels)

    def __repr__(self) -> str:
        sizes = np.bincount(self.of_reach, minlength=8)
        each = [f"{label}: {size:,}" for label, size in zip(self.labels[:8], sizes, strict=False)]
        more = ", ..." if self.labels.size > 8 else ""
        reaches = f"{self.of_reach.size:,} reaches"
        groups = f"{self.labels.size:,} group{'s' * (self.labels.size != 1)}"
        return f"<xroute.Groups by {self.name!r}: {groups} of {reaches} ({', '.join(each)}{more})>"

    def __len__(self) -> int:
        """Number of groups."""
        return int(self.labels.size)

    @property
    def sizes(self) -> Index:
        """Number of reaches in each group: int64 [group]."""
        return np.bincount(self.of_reach, minlength=len(self))

    def take(self, reaches: NDArray[Any]) -> Groups:
        """Groups of some of the reaches, by their positions or a mask; those that none of them is in are left out."""
        used, of_reach = np.unique(self.of_reach[reaches], return_inverse=True)
        return Groups(of_reach, self.labels[used], self.name)

    def equals(self, other: Groups | None) -> bool:
        """Whether these are the same groups of as many reaches, under the same labels; the name does not matter."""
        return (
            other is not None
            and np.array_equal(self.of_reach, other.of_reach)
            and self.labels.tolist() == other.labels.tolist()
        )


def reach_groups(network: NetworkLike, groups: Any, gauges: Any = None) -> Groups | None:
    """Groups of a network's reaches.

    Parameters
    ----------
    network
        Network Dataset, a `Network`, or the path of one.
    groups
        ``None`` or ``True``: none, each reach by itself. ``"all"``: one group. ``"strahler"``: by Strahler (1957) order.
        ``"basin"``: by the outlet that a reach drains to. ``"gauge"``: by the next gauge downstream, a gauge's own reach
        included, along the largest fraction that leads to one; reaches below all gauges are one more group, labelled 0 (a
        negative number if that is a reach's id) or with empty text. The name of a variable of the network on ``reach``, which
        comes before these words where it is one of them. A DataArray on ``reach``, a Series or a mapping, matched by id; or
        values [reach] in the network's order. Or `Groups`.
    gauges
        Ids of the reaches with gauges, for ``"gauge"``.

    Returns
    -------
    Groups or None
        None where each reach is by itself.

    Raises
    ------
    ParameterError
        For names that are no variable's, values that are not one a reach, labels that are missing (the reaches are named), and
        ``"gauge"`` without gauges.
    AlignmentError, NetworkError
        For labels on other reaches, and gauges on reaches that are not in the network.

    Examples
    --------
    >>> import xroute
    >>> network = xroute.Network.from_links([1, 2, 3, 4], [3, 3, 4, 0])
    >>> groups = xroute.reach_groups(network, "gauge", gauges=[3])
    >>> groups.labels[groups.of_reach]
    array([3, 3, 3, 0])
    >>> xroute.reach_groups(network, "strahler").sizes
    array([2, 2])
    """
    if groups is None or groups is True:
        return None
    network = as_network(network)
    if isinstance(groups, Groups):
        if groups.of_reach.size != network.n_reaches:
            raise ParameterError(
                f"groups {groups.name!r} are of {groups.of_reach.size} reaches, and the network has {network.n_reaches}"
            )
        return groups
    if isinstance(groups, str):
        values, name = _named(network, groups, gauges), groups
    else:
        values, name = _given(network, groups)
    return _by_label(values, network.ids, name)


def _named(network: Network, name: str, gauges: Any) -> NDArray[Any]:
    """Labels [reach] of groups that are asked for by name: a variable's, or one of the words."""
    dataset = network.dataset
    if name in dataset.variables:
        if dataset[name].dims != ("reach",):
            raise ParameterError(
                f"groups are one label a reach, and the variable {name!r} has the dimensions {some(dataset[name].dims) or 'none'}"
            )
        return np.asarray(dataset[name].values)
    if name == "all":
        return np.full(network.n_reaches, name)
    if name == "strahler":
        return np.asarray(network.strahler.values)
    if name == "basin":
        return np.asarray(network.basins.values)
    if name == "gauge":
        return _by_gauge(network, gauges)
    on_reach = [n for n, v in dataset.data_vars.items() if v.dims == ("reach",)]
    raise ParameterError(
        f"groups {name!r} are neither one of {', '.join(map(repr, GROUPING))} nor a variable of the network on reach, which has "
        f"{some(on_reach) or 'none'}"
    )


def _by_gauge(network: Network, gauges: Any) -> NDArray[Any]:
    """Id [reach] of the next gauged reach downstream; 0, a negative number or empty text, which is no id, where there is none."""
    if gauges is None:
        raise ParameterError(
            "groups 'gauge' are sub-basins of gauges, and which reaches these are on is not known: "
            'xroute.reach_groups(network, "gauge", gauges=ids) makes them'
        )
    at = np.unique(network.position(gauges))
    if not at.size:
        raise ParameterError("groups 'gauge' are sub-basins of gauges, and there are no gauges")
    n, (up, down, fraction) = network.n_reaches, network.links
    gauged = np.zeros(n, bool)
    gauged[at] = True
    above = within(network.ids, network.upstream(network.ids[at]))
    leads = above[down] & ~gauged[up]  # water stops at a gauge, and a branch that leads to none does not count
    last = follow(network.plan.order, drains_to(Links(up[leads], down[leads], fraction[leads]), n))
    below_none: Any = ""
    if network.ids.dtype.kind != "U":
        free = np.array([0, -1, int(network.ids.min(initial=0)) - 1])
        below_none = free[~np.isin(free, network.ids)][0]
    return np.where(gauged[last], network.ids[last], below_none)


def _given(network: Network, groups: Any) -> tuple[NDArray[Any], str]:
    """Labels [reach] that a caller gives, in the network's order, and what they are called."""
    n, name = network.n_reaches, "groups"
    if isinstance(groups, Mapping):
        groups = pd.Series(dict(groups))
    if isinstance(groups, xr.DataArray | pd.Series):
        name = name if groups.name is None else str(groups.name)
        labels = np.asarray(groups.values if isinstance(groups, xr.DataArray) else groups.to_numpy())
        if labels.ndim != 1:
            dims = groups.dims if isinstance(groups, xr.DataArray) else ()
            raise ParameterError(f"groups {name!r} are one label a reach, and have the dimensions {some(dims) or 'none'}")
        if isinstance(groups, xr.DataArray):  # labels of any kind are brought into order by their positions
            where: Any = groups.copy(data=np.arange(labels.size)).drop_attrs(deep=False)
        else:
            where = pd.Series(np.arange(labels.size), index=groups.index)
        return labels[by_reach(where, network.ids, "groups" if name == "groups" else f"groups {name}", gaps=False).values], name
    try:
        values = np.asarray(groups)
    except (TypeError, ValueError) as error:
        raise ParameterError(f"groups are one label a reach, and cannot be made of a {type(groups).__name__}: {error}") from error
    if values.ndim == 0:
        raise ParameterError(
            f"groups are one of {', '.join(map(repr, GROUPING))}, the name of a variable on reach, or labels [reach], not "
            f"{groups!r}"
        )
    if values.shape != (n,):
        raise ParameterError(f"groups have the shape {values.shape}, and the network {n} reaches: they are one label a reach")
    return values, name


def _by_label(values: NDArray[Any], ids: NDArray[Any], name: str) -> Groups:
    """Groups of labels [reach], sorted where they can be."""
    absent = is_missing(values)
    if absent.any():
        raise ParameterError(
            f"groups {name!r}: {int(absent.sum())} reaches have no label: {some(ids[absent])}. Give them one, "
            "array.fillna(...), each reach being in a group"
        )
    if values.dtype.kind == "O":
        if all(isinstance(v, str) for v in values):
            values = values.astype(str)
        elif all(isinstance(v, int | np.integer) for v in values):
            values = exact_ids(values, f"groups {name!r}", ParameterError)
    kind = pd.api.types.infer_dtype(values, skipna=False) if values.dtype.kind == "O" else ""
    if values.dtype.kind not in "biufUMmO" or kind.startswith("mixed"):
        what = f"of several kinds: {some(dict.fromkeys(values.tolist()))}" if kind else f"{values.dtype}"
        raise ParameterError(f"labels of the groups {name!r} are {what}. They are numbers, text or times")
    of_reach, labels = pd.factorize(values, sort=True)
    return Groups(of_reach, np.asarray(labels), name)


# ── what is learned, and of which groups ────────────────────────────────────────────────────────────────────────────────


class Learned(NamedTuple):
    """How a parameter is learned.

    Attributes
    ----------
    form
        ``"value"``: its value; ``"scale"``: a factor on the network's values.
    groups
        Of which groups there is one each; None for one of each reach.
    """

    form: Form = "value"
    groups: Groups | None = None

    def take(self, reaches: Index) -> Learned:
        """The same of some of the reaches."""
        return self if self.groups is None else Learned(self.form, self.groups.take(reaches))


def learned_of(
    learnable: Any, network: Network, *, groups: Any = None, gauges: Any = None, what: str = "learnable"
) -> dict[str, Learned]:
    """What a caller wants to be learned, by name of the parameter.

    Parameters
    ----------
    learnable
        A name, names, None, or by name: True, a value; False or None, nothing; ``"value"`` or ``"scale"``; groups, as
        `reach_groups` takes them; or a form and groups, ``("scale", "strahler")``.
    network : Network
        Whose reaches groups are of.
    groups
        Groups of the parameters of which none are said; None for each reach by itself.
    gauges
        As of `reach_groups`.
    what
        Name of the argument, for messages.

    Raises
    ------
    ParameterError, AlignmentError
        As `reach_groups`, and for what is none of these.
    """
    if learnable is None:
        return {}
    if isinstance(learnable, str):
        learnable = (learnable,)
    if not isinstance(learnable, Mapping):
        try:
            learnable = dict.fromkeys(learnable, True)
        except TypeError as error:
            raise ParameterError(f"{what} are names of parameters, or a mapping of them, not {learnable!r}") from error
    strange = [name for name in learnable if not isinstance(name, str)]
    if strange:
        raise ParameterError(f"{what} are names of parameters, not {some(strange)}")
    found = {}
    for name, how in learnable.items():
        if how is False or how is None:
            continue
        form: Any = "value"
        if how is True:
            how = groups
        elif isinstance(how, str) and how in FORM and how not in network:
            form, how = how, groups
        elif isinstance(how, tuple) and len(how) == 2 and isinstance(how[0], str):
            form, how = how
            one_of(f"the form of {name!r}", form, FORM)
        try:
            found[name] = Learned(form, reach_groups(network, how, gauges))
        except ParameterError as error:
            raise ParameterError(f"{what} {name!r}: {error}") from error
    return found
