"""The accessors: ``DataArray.route`` (callable) and ``Dataset.river``. They only delegate."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.display.others import panel_of_accessor
from xroute.display.panel import Panel
from xroute.network import Network
from xroute.plotting import animate, explore, plot_hydrographs, plot_network, plot_profile
from xroute.request import NetworkLike
from xroute.routing import route
from xroute.units import dataset_without_pint

if TYPE_CHECKING:
    import networkx
    import pandas as pd

__all__ = ["RiverAccessor", "RouteAccessor"]


def _as_of(function: Callable[..., Any], **renamed: str) -> Callable[[Any], Any]:
    """A method bears the parameters and the documentation of the function that it calls with its own object first.

    Parameters that the method calls otherwise are given by name. What the method's own docstring says is for readers of this
    file.
    """

    def bear(method: Any) -> Any:
        itself, *others = inspect.signature(function).parameters.values()
        others = [p.replace(name=renamed.get(p.name, p.name)) for p in others]
        method.__signature__ = inspect.signature(function).replace(parameters=[itself.replace(name="self"), *others])
        documentation = inspect.getdoc(function) or ""
        documentation = re.sub(rf"\n{itself.name}(?: : .*)?\n(?:    .*\n)+", "\n", documentation, count=1)
        for old, new in renamed.items():
            documentation = documentation.replace(f"\n{old}\n", f"\n{new}\n")
        method.__doc__ = documentation
        return method

    return bear


@xr.register_dataarray_accessor("route")
class RouteAccessor:
    """Callable accessor: ``ds.runoff.route(network)`` is `xroute.route`."""

    def __init__(self, runoff: xr.DataArray) -> None:
        self._runoff = runoff

    def __repr__(self) -> str:
        return self._panel().text()

    def _repr_html_(self) -> str:
        return self._panel().html()

    def _panel(self) -> Panel:
        return panel_of_accessor(type(self), "DataArray.route", "runoff down a river network, and what is made of discharge")

    @_as_of(route)
    def __call__(self, network: NetworkLike, **options: Any) -> Any:  # noqa: D102 (documented in route)
        return route(self._runoff, network, **options)

    @_as_of(plot_hydrographs, gauges="reaches")
    def hydrograph(self, reaches: Any = None, ax: Any = None, **options: Any) -> Any:  # noqa: D102 (documented there)
        return plot_hydrographs(self._runoff, reaches, ax, **options)


@xr.register_dataset_accessor("river")
class RiverAccessor:
    """Questions to a network Dataset: ``ds.river.outlets``, ``ds.river.upstream(id)``; see `xroute.Network`."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def __repr__(self) -> str:
        return self._panel().text()

    def _repr_html_(self) -> str:
        return self._panel().html()

    def _panel(self) -> Panel:
        return panel_of_accessor(type(self), "Dataset.river", "questions to a river network")

    @property
    def network(self) -> Network:
        """`Network` of the Dataset as it is now; made anew when topology or parameters have changed."""
        dataset = dataset_without_pint(self._dataset)
        return keep(self, ("network", _digest(dataset)), lambda: Network(dataset), most=1)

    @property
    def outlets(self) -> NDArray[Any]:
        """Ids of the reaches that drain to no other [reach]."""
        return self.network.outlets

    @property
    def headwaters(self) -> NDArray[Any]:
        """Ids of the reaches that no other drains to [reach]."""
        return self.network.headwaters

    @property
    def strahler(self) -> xr.DataArray:
        """Strahler (1957) order of each reach (reach)."""
        return self.network.strahler

    @property
    def basins(self) -> xr.DataArray:
        """Id of the outlet that each reach drains to (reach)."""
        return self.network.basins

    @property
    def depth(self) -> int:
        """Number of reaches on the longest path."""
        return self.network.depth

    @_as_of(Network.upstream)
    def upstream(self, ids: Any) -> NDArray[Any]:
        """Ids of all reaches upstream of ``ids``, themselves included."""
        return self.network.upstream(ids)

    def basin(self, ids: Any) -> xr.Dataset:
        """Network Dataset of all reaches upstream of ``ids``, themselves included; links that leave it are cut.

        Parameters
        ----------
        ids
            One id, or several.

        Returns
        -------
        xarray.Dataset
            Those reaches with all of their variables: a copy.

        Raises
        ------
        NetworkError
            For ids that are not in the network.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> ds = xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]})
        >>> ds.river.basin(20).reach.values
        array([20])
        """
        return self.network.basin(ids).dataset.copy(deep=True)

    subset = basin

    @_as_of(Network.partition)
    def partition(self, n: int) -> xr.DataArray:
        """Partition of each reach; see `Network.partition` (reach)."""
        return self.network.partition(n)

    def sort(self, partitions: int = 1) -> xr.Dataset:
        """Same network with its reaches upstream before downstream, partitions as slices.

        Parameters
        ----------
        partitions
            How many partitions of tributaries (see `partition`) stand together, the trunk last.

        Returns
        -------
        xarray.Dataset
            All reaches with all of their variables: a copy in another order.

        Raises
        ------
        ParameterError
            If ``partitions`` is not a positive whole number.

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> ds = xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]})
        >>> ds.isel(reach=[2, 1, 0]).river.sort().reach.values[-1].item()
        30
        """
        return self.network.sort(partitions).dataset.copy(deep=True)

    @_as_of(Network.response)
    def response(self, *args: Any, **options: Any) -> xr.DataArray:
        """Unit response between reaches; see `Network.response`."""
        return self.network.response(*args, **options)

    @_as_of(Network.travel_time)
    def travel_time(self, *args: Any, **options: Any) -> xr.Dataset:
        """Mean and spread of travel times; see `Network.travel_time` (reach)."""
        return self.network.travel_time(*args, **options)

    @_as_of(Network.to_grid)
    def to_grid(self, values: Any, fill: Any = None) -> Any:
        """Values on the reaches put on the grid whose cells they are; see `xroute.to_grid`."""
        return self.network.to_grid(values, fill)

    @_as_of(Network.to_reaches)
    def to_reaches(self, field: xr.DataArray) -> xr.DataArray:
        """A field on the grid whose cells the reaches are, on the reaches; see `xroute.to_reaches`."""
        return self.network.to_reaches(field)

    @_as_of(Network.to_networkx)
    def to_networkx(self) -> networkx.DiGraph:
        """Directed graph; see `Network.to_networkx`."""
        return self.network.to_networkx()

    @_as_of(Network.to_dataframe)
    def to_dataframe(self) -> pd.DataFrame:
        """Table of the variables on ``reach``, indexed by id."""
        return self.network.to_dataframe()

    @_as_of(plot_network)
    def plot(self, values: Any = None, ax: Any = None, **options: Any) -> Any:  # noqa: D102 (documented in plot_network)
        return plot_network(self.network, values, ax, **options)

    @_as_of(explore)
    def explore(self, values: Any = None, **options: Any) -> Any:  # noqa: D102 (documented in explore)
        return explore(self.network, values, **options)

    @_as_of(plot_profile)
    def profile(self, discharge: Any, reach: Any = None, *args: Any, **options: Any) -> Any:  # noqa: D102
        return plot_profile(self.network, discharge, reach, *args, **options)

    @_as_of(animate)
    def animate(self, discharge: Any, path: Any = None, **options: Any) -> Any:  # noqa: D102 (documented in animate)
        return animate(self.network, discharge, path, **options)


def _digest(dataset: xr.Dataset) -> str:
    """Hash of the content of a Dataset, so that no cache outlives a change made in place."""
    digest = hashlib.blake2b(digest_size=16)
    for name, variable in dataset.variables.items():
        digest.update(repr((name, variable.dims, variable.dtype, variable.attrs)).encode())
        values = np.asarray(variable.values)
        digest.update(
            repr(values.tolist()).encode() if values.dtype.kind in "OT" else np.ascontiguousarray(values).tobytes()
        )
    digest.update(repr(dataset.attrs).encode())
    return digest.hexdigest()
