"""`Network`: a validated river network, read once from a Dataset, with its plan and the questions people ask of it.

The Dataset is the interface (see the data model): ids on the coordinate ``reach``, ``downstream`` or links with
fractions, parameters of the routing scheme. A `Network` keeps its own read-only copy, so nothing that happens to the
Dataset afterwards can make its answers stale.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.caches import KEPT
from xroute.display.network import panel_of
from xroute.engine import plan as _plan
from xroute.exceptions import NetworkError, ParameterError, some
from xroute.graphs import as_list
from xroute.guards import reading, require_memory
from xroute.ids import ID_KINDS, exact_ids, positions_of
from xroute.network_answers import NetworkAnswers
from xroute.network_forms import NetworkForms
from xroute.network_sources import NetworkSources
from xroute.settings import MissingDownstream
from xroute.topology import Links, drains_to, link_ends, outlet_marker, read_ids, read_links
from xroute.units import dataset_without_pint

__all__ = ["Network"]


class Network(NetworkSources, NetworkForms, NetworkAnswers):
    """A river network: reaches, the links between them, and the parameters of their routing scheme.

    Parameters
    ----------
    dataset : xarray.Dataset or Network
        Dimension and coordinate ``reach`` (unique ids, integer or text); ``downstream`` (reach), or ``upstream_reach``,
        ``downstream_reach`` and ``fraction`` (link); scheme parameters (reach). It is copied, never changed.
    missing_downstream : {"raise", "outlet"}
        What to do with downstream ids that are not in ``reach``, as clipped domains have them.

    Raises
    ------
    NetworkError
        For duplicate, missing or unknown ids, cycles (the ids around one are named) and impossible fractions.

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> ds = xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]})
    >>> xroute.Network(ds)
    <xroute.Network: 3 reaches, 1 outlet, longest path 2 reaches>
    Reaches:          3 (2 headwaters), int64 ids
    Links:            2
    Outlets:          30
    Strahler orders:  1: 2, 2: 1
    Scheme:           none yet (it has no parameters of one)
    """

    def __init__(self, dataset: xr.Dataset | Network, *, missing_downstream: MissingDownstream = "raise") -> None:
        if isinstance(dataset, Network):
            dataset = dataset.dataset
        if not isinstance(dataset, xr.Dataset):
            raise NetworkError(
                f"a network is an xarray.Dataset, not {type(dataset).__name__}; see Network.from_dataframe"
            )
        require_memory(dataset, "a network", "it is hardly a network, or its file is damaged")
        with reading("the network's Dataset"):
            self._dataset: xr.Dataset = _own_copy(dataset)
        self._missing_downstream = missing_downstream
        self.ids: NDArray[Any] = read_ids(self._dataset).copy()
        """Ids of the reaches in the Dataset's order: int64 or str [reach]."""
        self.links: Links = read_links(self._dataset, self.ids, missing_downstream)
        """Links, by the positions of the reaches at their ends."""
        self._incoming = _plan.incoming(*self.links, self.n_reaches)  # kept until the plan is made of it
        if self._incoming.order.size < self.n_reaches:
            cycle = self.ids[_plan.find_cycle(*self.links[:2], self.n_reaches)]
            raise NetworkError(
                f"the network has a cycle of {cycle.size} reaches: {some(cycle)}, and back to {some(cycle[:1])}. "
                "Water must leave: break it at one of them"
            )

        for array in (self.ids, *self.links):
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._dataset, self._missing_downstream)

    def __repr__(self) -> str:
        return panel_of(self).text()

    def _repr_html_(self) -> str:
        return panel_of(self, picture=True).html()

    # ── what it is ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def dataset(self) -> xr.Dataset:
        """The network as a Dataset; its arrays are read-only, so copy it (``deep=True``) to change it."""
        return self._dataset.copy(deep=False)

    def __getitem__(self, name: Hashable) -> xr.DataArray:
        """A variable of the Dataset, by its name."""
        return self._dataset[name]

    def __contains__(self, name: object) -> bool:
        return name in self._dataset

    if not TYPE_CHECKING:  # or no checker would know a wrong name any more

        def __getattr__(self, name: str) -> Any:
            where = "" if name.startswith("_") else self._advice(name)
            raise AttributeError(f"a Network has no attribute {name!r}{where}", name=name, obj=self)

    def _advice(self, name: str) -> str:  # where it is that was looked for here
        if name in self._dataset:
            return f": the variable is network[{name!r}]"
        river = "river." * hasattr(getattr(xr.Dataset, "river", None), name)
        return f": it is network.dataset.{river}{name}" if river or hasattr(xr.Dataset, name) else ""

    __iter__ = None  # it holds variables and reaches, and which of them to go over would be a guess

    @property
    def attrs(self) -> dict[Hashable, Any]:
        """Attributes of the Dataset: its scheme, its source, and how it wants to be routed (`xroute.recipe`)."""
        return dict(self._dataset.attrs)

    @property
    def n_reaches(self) -> int:
        """Number of reaches."""
        return self.ids.size

    @cached_property
    def plan(self) -> _plan.RoutingPlan:
        """Order of computation; made at the first use."""
        return _plan.make_plan(*self.links, self.n_reaches, ordered=self.__dict__.pop("_incoming", None))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of ids and links that does not depend on the order of the reaches."""
        hashed = pd.util.hash_array(self.ids.astype(object) if self.ids.dtype.kind == "U" else self.ids)
        up, down, fraction = self.links
        with np.errstate(over="ignore"):
            links = (hashed[up] * np.uint64(3) + hashed[down] * np.uint64(5)) ^ pd.util.hash_array(fraction)
            links = pd.util.hash_array(links)
            return f"{int(pd.util.hash_array(hashed).sum()) & (2**64 - 1):016x}{int(links.sum()) & (2**64 - 1):016x}"

    @cached_property
    def has_bifurcations(self) -> bool:
        """Whether any reach drains to more than one."""
        return bool((np.bincount(self.links.upstream, minlength=self.n_reaches) > 1).any())

    @property
    def outlets(self) -> NDArray[Any]:
        """Ids of the reaches that drain to no other [reach]."""
        return self.ids[np.bincount(self.links.upstream, minlength=self.n_reaches) == 0]

    @property
    def headwaters(self) -> NDArray[Any]:
        """Ids of the reaches that no other drains to [reach]."""
        return self.ids[np.bincount(self.links.downstream, minlength=self.n_reaches) == 0]

    @cached_property
    def depth(self) -> int:
        """Number of reaches on the longest path."""
        return int(_plan.path_length(*self._tributaries).max(initial=0))

    @cached_property
    def strahler(self) -> xr.DataArray:
        """Strahler (1957) order of each reach (reach)."""
        return self._on_reach(
            _plan.strahler_order(*self._tributaries), "strahler_order", long_name="Strahler stream order", units="1"
        )

    @cached_property
    def n_upstream(self) -> xr.DataArray:
        """Number of reaches upstream of each reach, itself included (an upper bound below bifurcations) (reach)."""
        return self._on_reach(
            self.plan.n_upstream, "n_upstream", long_name="reaches upstream, itself included", units="1"
        )

    @cached_property
    def basins(self) -> xr.DataArray:
        """Id of the outlet that each reach drains to, along the largest fraction where it bifurcates (reach)."""
        outlet = _plan.follow(self.plan.order, drains_to(self.links, self.n_reaches))
        return self._on_reach(self.ids[outlet], "basin", long_name="outlet of the basin")

    # ── parts of it ─────────────────────────────────────────────────────────────────────────────────────────────────

    def position(self, ids: Any) -> NDArray[np.int64]:
        """Positions of reaches by id.

        Parameters
        ----------
        ids
            One id, or several.

        Returns
        -------
        int64 [reach]
            Where each of them stands in the network's order, from 0.

        Raises
        ------
        NetworkError
            Naming the ids that are not in the network.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.position([30, 10])
        array([2, 0])
        """
        wanted = exact_ids(as_list(ids, "ids"), "ids")
        if wanted.size and self.n_reaches and wanted.dtype.kind != self.ids.dtype.kind:
            raise NetworkError(
                f"reach ids are {ID_KINDS[self.ids.dtype.kind]} ({some(self.ids, 2)}), not {ID_KINDS[wanted.dtype.kind]}: "
                f"{some(wanted)}"
            )
        found = positions_of(wanted, self.ids)
        if (found < 0).any():
            raise NetworkError(f"not in the network: {some(wanted[found < 0])}")
        return found

    def upstream(self, ids: Any) -> NDArray[Any]:
        """Ids of all reaches upstream of ``ids``, themselves included.

        Parameters
        ----------
        ids
            One id, or several.

        Returns
        -------
        ids [reach]
            Each once, in the network's order.

        Raises
        ------
        NetworkError
            For ids that are not in the network.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.upstream(30)
        array([10, 20, 30])
        """
        return self.ids[self._upstream_mask(ids)]

    def basin(self, ids: Any) -> Network:
        """Network of all reaches upstream of ``ids``, themselves included; links that leave it are cut.

        Parameters
        ----------
        ids
            One id, or several.

        Returns
        -------
        Network
            Those reaches with all of their variables, in the network's order.

        Raises
        ------
        NetworkError
            For ids that are not in the network.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.basin([10, 20]).ids
        array([10, 20])
        """
        return self._take(np.flatnonzero(self._upstream_mask(ids)))

    subset = basin

    def partition(self, n: int) -> xr.DataArray:
        """Partition of each reach, for routing in parts: 0 to ``n - 1`` for tributaries, ``n`` for their trunk.

        Parameters
        ----------
        n
            How many partitions of tributaries; 1 leaves the network whole.

        Returns
        -------
        xarray.DataArray
            Number of the partition (reach).

        Raises
        ------
        ParameterError
            If ``n`` is not a positive whole number.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.partition(2).values
        array([0, 1, 2])
        """
        from xroute.partition import partition

        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ParameterError(f"the number of partitions is a positive whole number, not {n!r}")
        return self._on_reach(partition(self.plan, n), "partition", long_name="partition of the river network")

    def sort(self, partitions: int = 1) -> Network:
        """Same network with its reaches upstream before downstream, whole subtrees together.

        Runoff stored in this order is routed fastest, because neighbours in the river are neighbours in memory.

        Parameters
        ----------
        partitions
            How many partitions of tributaries (see `partition`) stand together, each as a slice, the trunk last.

        Returns
        -------
        Network
            All reaches with all of their variables, in another order.

        Raises
        ------
        ParameterError
            If ``partitions`` is not a positive whole number.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [0, 30, 30])}, {"reach": [30, 20, 10]}))
        >>> network.sort().ids[-1].item()
        30
        """
        ordered = self._take(self.plan.order)
        label = ordered.partition(partitions).values
        return ordered if partitions == 1 else ordered._take(np.argsort(label, kind="stable"))

    # ── internals ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _tributaries(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return self.plan.order, self.plan.upstream_pointer, self.plan.upstream_reach

    def _on_reach(self, values: NDArray[Any], name: str, **attrs: str) -> xr.DataArray:
        values = values.view()
        values.setflags(write=False)  # it is cached
        return xr.DataArray(values, dims="reach", coords={"reach": self._dataset["reach"]}, name=name, attrs=attrs)

    def _upstream_mask(self, ids: Any) -> NDArray[np.bool_]:
        mask = np.zeros(self.n_reaches, bool)
        mask[self.position(ids)] = True
        _plan.mark_upstream(*self._tributaries, mask)
        return mask

    def _with(self, dataset: xr.Dataset) -> Network:
        """The same network with another Dataset of its reaches and links: what was made of these stays."""
        made = object.__new__(type(self))
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name != KEPT})
        made._dataset = dataset
        return made

    def _take(self, positions: NDArray[np.int64]) -> Network:
        part = self._dataset.isel(reach=positions)
        kept = np.zeros(self.n_reaches, bool)
        kept[positions] = True
        if "downstream" in part.variables:
            up, down, _ = self.links
            stays = kept[down]
            marker = outlet_marker(self._dataset, self.ids)
            values = np.full(self.n_reaches, marker, np.result_type(self.ids, np.asarray(marker)))
            values[up[stays]] = self.ids[down[stays]]
            part["downstream"] = part["downstream"].copy(data=values[positions])
            part["downstream"].attrs["outlet"] = marker
        else:
            up, down = link_ends(part, self.ids, "outlet")
            part = part.isel({part["upstream_reach"].dims[0]: (down >= 0) & kept[up] & kept[down]})
        return Network(part)


def _rebuild(dataset: xr.Dataset, missing_downstream: MissingDownstream) -> Network:
    return Network(dataset, missing_downstream=missing_downstream)


def _own_copy(dataset: xr.Dataset) -> xr.Dataset:
    copy = dataset_without_pint(dataset).copy(deep=True).load()
    for variable in copy.variables.values():
        if not isinstance(variable, xr.IndexVariable):  # the values of an index are pandas's, and immutable
            variable.values.setflags(write=False)
    return copy
