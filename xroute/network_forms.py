"""A network with other values, and as other things, as methods of `xroute.Network`: tables, graphs, values on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.directions.onto import field_of_reaches, reaches_of_field
from xroute.graphs import graph_of
from xroute.reach_values import assigned
from xroute.topology import Links, reach_variables

if TYPE_CHECKING:
    import networkx

    from xroute.network import Network

__all__ = ["NetworkForms"]


class NetworkForms:
    """Other values, and other forms, of `xroute.Network`."""

    if TYPE_CHECKING:  # what `Network` has
        ids: NDArray[Any]
        links: Links
        _dataset: xr.Dataset

        @property
        def n_reaches(self) -> int:
            """Number of reaches."""

        def _with(self, dataset: xr.Dataset) -> Network: ...

        def _take(self, positions: NDArray[np.int64]) -> Network: ...

    def assign(
        self, variables: Mapping[str, Any] | pd.DataFrame | xr.Dataset | None = None, /, **more: Any
    ) -> Network:
        """The same network with other variables: parameters, areas, whatever stands on its reaches.

        Parameters
        ----------
        variables, **more
            By name: a number or a text for all reaches; values [reach] in the network's order, or as xarray takes them,
            ``("reach", values, {"units": "h"})``; a DataArray on ``reach`` or a Series whose index are the ids, in any order,
            matched by id; or a function of the Dataset that gives one of these. Units stay those of the attributes; what has
            none is SI. Also a table whose index are the ids, or a Dataset on ``reach``: all their columns or variables.

        Returns
        -------
        Network
            A new one; this one stays as it is. Its plan is not made again.

        Raises
        ------
        NetworkError
            For ``reach``, ``downstream`` and the variables of links: other links make another network.
        AlignmentError
            For labels that are not the network's ids, each once.
        ParameterError
            For another number of values than there are reaches.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> k = xr.DataArray([3.0, 2.0, 1.0], {"reach": [30, 20, 10]}, attrs={"units": "h"})
        >>> network.assign(k=k, x=0.2).dataset.k.values
        array([1., 2., 3.])
        """
        named = {} if variables is None else {str(n): v for n, v in variables.items()}  # a table has no truth value
        return self._with(assigned(self._dataset, self.ids, {**named, **more}))

    def assign_attrs(self, **attrs: Any) -> Network:
        """The same network with other attributes, such as its ``scheme``.

        Parameters
        ----------
        **attrs
            Attributes by name; those that are not named stay.

        Returns
        -------
        Network
            A new one; this one stays as it is.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.assign_attrs(scheme="pure_lag").attrs
        {'scheme': 'pure_lag'}
        """
        return self._with(self._dataset.assign_attrs(attrs))

    def with_outlets(self) -> Network:
        """The same network, whose reaches that drain to ids it does not have (``missing_downstream``) bear the outlet marker.

        Returns
        -------
        Network
            One that needs no ``missing_downstream`` when it is read again.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> clipped = xr.Dataset({"downstream": ("reach", [20, 99])}, {"reach": [10, 20]})
        >>> xroute.Network(clipped, missing_downstream="outlet").with_outlets()["downstream"].values
        array([20,  0])
        """
        return self._take(np.arange(self.n_reaches))

    def to_grid(self, values: Any, fill: Any = None) -> Any:
        """Put values on the reaches onto the grid whose cells they are, as `xroute.to_grid` does.

        Parameters
        ----------
        values : (..., reach, ...) DataArray, or Dataset
            On all reaches or some, matched by id, in any units, which stay.
        fill
            Value of cells that are no reach; by default NaN, and ``""`` in text.

        Returns
        -------
        DataArray or Dataset
            On (..., rows, columns), in the units of the values, with the grid's own names and coordinates.

        Raises
        ------
        NetworkError
            If the network is not of a grid.
        AlignmentError
            For ids that the network does not have, or that stand more than once.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
        >>> network = xroute.Network.from_d8(direction)
        >>> network.to_grid(network.n_upstream, fill=0).values
        array([[1, 2],
               [0, 3]])
        """
        return field_of_reaches(values, self._dataset, self.ids, fill)

    def to_reaches(self, field: xr.DataArray) -> xr.DataArray:
        """Take a field on the grid whose cells the reaches are to these, as `xroute.to_reaches` does.

        Parameters
        ----------
        field : (..., rows, columns)
            On the network's grid, or on a larger one with the same cells, in any units, which stay.

        Returns
        -------
        DataArray
            On (..., reach), in the units of the field; what is lazy stays lazy.

        Raises
        ------
        NetworkError
            If the network is not of a grid.
        AlignmentError
            If the field lacks cells of the network.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> direction = xr.DataArray([[1, 4], [247, 0]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
        >>> network = xroute.Network.from_d8(direction)
        >>> field = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"lat": [49.5, 50.5], "lon": [7.5, 8.5]})
        >>> network.to_reaches(field).values
        array([3., 4., 2.])
        """
        return reaches_of_field(field, self._dataset)

    def to_networkx(self) -> networkx.DiGraph:
        """Directed graph of the network, for networkx.

        Returns
        -------
        networkx.DiGraph
            Nodes are ids, with the variables on ``reach``; edges point downstream, with ``fraction``.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> sorted(network.to_networkx().edges)
        [(10, 30), (20, 30)]
        """
        return graph_of(self._dataset, self.ids, self.links)

    def to_dataframe(self) -> pd.DataFrame:
        """Table of the variables on ``reach``.

        Returns
        -------
        pandas.DataFrame
            A row a reach, indexed by id, in the network's order.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> network = xroute.Network(xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]}))
        >>> network.to_dataframe()
               downstream
        reach
        10             30
        20             30
        30              0
        """
        columns = {name: self._dataset[name].values for name in reach_variables(self._dataset)}
        return pd.DataFrame(columns, index=pd.Index(self.ids, name="reach"))
