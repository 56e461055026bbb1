"""What networks are made of: the constructors of `xroute.Network`, which only delegate to those who know each form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.graphs import dataset_from_graph, dataset_from_links
from xroute.settings import MissingDownstream

if TYPE_CHECKING:
    import networkx

__all__ = ["NetworkSources"]


class NetworkSources:
    """Constructors of `xroute.Network`."""

    if TYPE_CHECKING:

        def __init__(self, dataset: xr.Dataset, *, missing_downstream: MissingDownstream = "raise") -> None: ...

    @classmethod
    def from_dataframe(
        cls,
        table: pd.DataFrame,
        reach: str | None = None,
        downstream: str | None = None,
        *,
        preset: str | None = None,
        units: Mapping[str, str] | None = None,
        missing_downstream: MissingDownstream = "raise",
    ) -> Self:
        """Network from a table with one row a reach.

        Parameters
        ----------
        table : pandas.DataFrame or geopandas.GeoDataFrame
            Other columns become variables.
        reach, downstream
            Columns of the ids. If neither is given, the columns of a known hydrography are looked for.
        preset
            Name of a known hydrography (`xroute.tables.PRESETS`).
        units
            Units by column.
        missing_downstream
            As for `Network`.
        """
        from xroute.tables import dataset_from_dataframe

        dataset = dataset_from_dataframe(table, reach, downstream, preset=preset, units=units)
        return cls(dataset, missing_downstream=missing_downstream)

    @classmethod
    def from_links(
        cls,
        upstream: Sequence[Any] | NDArray[Any],
        downstream: Sequence[Any] | NDArray[Any],
        fraction: Sequence[float] | NDArray[Any] | None = None,
        *,
        reach: Sequence[Any] | NDArray[Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
        missing_downstream: MissingDownstream = "raise",
    ) -> Self:
        """Network from a list of links, bifurcations included.

        Parameters
        ----------
        upstream, downstream : [link]
            Ids of the two ends. Water leaves the network where the downstream one is an outlet marker: NaN, "", 0 or a
            negative number that is no reach.
        fraction : [link], optional
            Share of the upstream reach's discharge; needed where a reach has several links.
        reach : [reach], optional
            All ids, in the order wanted; by default those in the links, sorted, without outlet markers.
        parameters
            Scheme parameters by name: scalars, arrays [reach], or DataArrays on ``reach``.
        attrs
            Attributes of the Dataset, such as ``scheme``.
        missing_downstream
            As for `Network`.
        """
        dataset = dataset_from_links(upstream, downstream, fraction, reach=reach, parameters=parameters, attrs=attrs)
        return cls(dataset, missing_downstream=missing_downstream)

    @classmethod
    def from_networkx(cls, graph: networkx.DiGraph, *, attrs: Mapping[str, Any] | None = None) -> Self:
        """Network from a directed graph: nodes are reaches, edges point downstream.

        Numeric node attributes become variables on ``reach``; the edge attribute ``fraction`` splits the flow.

        Raises
        ------
        NetworkError
            If the graph is undirected, or a node lacks an attribute that others have.
        """
        return cls(dataset_from_graph(graph, attrs))
