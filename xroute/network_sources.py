"""What networks are made of: the constructors of `xroute.Network`, which only delegate to those who know each form."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xroute.graphs import dataset_from_graph, dataset_from_links
from xroute.settings import Convention, MissingDownstream

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

        Returns
        -------
        Network
            In the order of the rows.

        Raises
        ------
        NetworkError
            For columns that are not there, ids that are none, and as `Network`.
        ParameterError
            For a preset that does not exist, and units that are no text.

        Examples
        --------
        >>> import pandas as pd, xroute
        >>> table = pd.DataFrame({"HYRIV_ID": [10, 20, 30], "NEXT_DOWN": [30, 30, 0], "LENGTH_KM": [4.0, 2.5, 6.0]})
        >>> xroute.Network.from_dataframe(table)["length"].attrs["units"]
        'km'
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

        Returns
        -------
        Network
            With the variables ``upstream_reach`` and ``downstream_reach`` (link), and ``fraction`` (link) where it is given.

        Raises
        ------
        NetworkError
            For lists of different lengths, links that stand twice, and as `Network`.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network.from_links([1, 1, 2, 3], [2, 3, 4, 4], [0.7, 0.3, 1.0, 1.0])
        >>> network.has_bifurcations, network.outlets
        (True, array([4]))
        """
        dataset = dataset_from_links(upstream, downstream, fraction, reach=reach, parameters=parameters, attrs=attrs)
        return cls(dataset, missing_downstream=missing_downstream)

    @classmethod
    def from_networkx(cls, graph: networkx.DiGraph, *, attrs: Mapping[str, Any] | None = None) -> Self:
        """Network from a directed graph: nodes are reaches, edges point downstream.

        Parameters
        ----------
        graph
            Numeric attributes of its nodes become variables on ``reach``; the attribute ``fraction`` of its edges splits
            the flow.
        attrs
            Attributes of the Dataset, such as ``scheme``.

        Returns
        -------
        Network
            In the order of the nodes.

        Raises
        ------
        NetworkError
            If the graph is undirected, or a node lacks an attribute that others have.

        Examples
        --------
        >>> import networkx, xroute
        >>> xroute.Network.from_networkx(networkx.DiGraph([(10, 30), (20, 30)])).outlets
        array([30])
        """
        return cls(dataset_from_graph(graph, attrs))

    @classmethod
    def from_lines(
        cls,
        table: pd.DataFrame,
        from_node: str | None = None,
        to_node: str | None = None,
        *,
        reach: str | None = None,
        fraction: str | None = None,
        tolerance: float | None = None,
        units: Mapping[str, str] | None = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Network from a table of lines between nodes: each line is a reach, and drains to those that begin where it ends.

        Parameters
        ----------
        table : pandas.DataFrame or geopandas.GeoDataFrame
            A row a line, drawn downstream. Other columns become variables.
        from_node, to_node
            Columns of the nodes that a line begins and ends at. By default those of tables that are about
            (``from_node``/``to_node``, ``upstream_node_id``/``downstream_node_id``, ``u``/``v``, ...); without any, nodes are the
            places where the lines of the geometry end.
        reach
            Column of the lines' ids; by default one that is called so and is unique, or else the table's index.
        fraction
            Column of the share that a line takes of the water at its beginning, where several lines begin. Without it shares are
            equal, and a warning says so.
        tolerance
            Take nodes from the geometry, and ends for one that are no farther apart than this, in the units of the coordinates.
        units
            Units by column.
        attrs
            Attributes of the Dataset, such as ``scheme``.

        Returns
        -------
        Network
            In the order of the rows.

        Raises
        ------
        NetworkError
            Columns that are not there, geometries that are not one line each, lines that end where they begin, and cycles.

        Warns
        -----
        UserWarning
            Where several lines begin at a node, and no column says in which shares.

        Examples
        --------
        >>> import pandas as pd, xroute
        >>> table = pd.DataFrame({"line_id": [1, 2, 3], "from_node": ["a", "b", "c"], "to_node": ["c", "c", "d"]})
        >>> xroute.Network.from_lines(table).dataset.downstream.values
        array([ 3,  3, -1])
        """
        from xroute.tables.lines import dataset_from_lines

        dataset = dataset_from_lines(table, from_node, to_node, reach, fraction, tolerance, units)
        return cls(dataset.assign_attrs(attrs or {}))

    @classmethod
    def from_d8(
        cls,
        direction: xr.DataArray,
        *,
        convention: Convention = "esri",
        ids: Any = None,
        nodata: Any = None,
        mask: Any = None,
        crs: Any = None,
        attrs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Network from a grid of flow directions, each cell to one of its eight neighbours: a reach for each cell.

        Parameters
        ----------
        direction : (rows, columns)
            Directions, whole numbers. Its coordinates say which way is north, whichever way they run: degrees, or lengths in a
            projection. Cells at the date line are neighbours where the grid goes round the Earth.
        convention : {"esri", "taudem", "grass", "ldd", "whitebox"}
            What the numbers mean. ``"esri"``: 1 east, 2 south-east, 4, ... 128 north-east (HydroSHEDS, MERIT Hydro; 0,
            255 and -1 drain nowhere, 247 and -9 are the sea). ``"taudem"``: 1 east to 8 south-east, anticlockwise.
            ``"grass"``: 1 north-east to 8 east, anticlockwise; 0 and negative ones leave. ``"ldd"``: PCRaster's
            keypad, 5 drains nowhere. ``"whitebox"``: 1 north-east, 2 east, ... 128 north.
        ids : (rows, columns), optional
            Ids of the cells; by default their numbers from 0, row by row as they stand in the array.
        nodata
            Numbers of what is no cell, beside NaN, declared fill values and those of the convention.
        mask : (rows, columns), optional
            Cells to take, such as one basin's.
        crs
            Coordinate system, where the grid does not say it: whatever pyproj takes, such as ``"EPSG:3035"``.
        attrs
            Attributes of the Dataset, such as ``scheme``.

        Returns
        -------
        Network
            With ``length`` [m], along the geodesic from centre to centre; ``area`` and ``upstream_area`` [m2], on the ellipsoid;
            ``lon`` and ``lat``; ``y_index`` and ``x_index``, and the grid itself, so that `xroute.to_grid` puts
            discharge back. A cell that drains nowhere is half as long as it is wide. In a projection whose system is
            not known, lengths and areas are the plane's. Cells that drain off the grid, or into what is no cell, are
            outlets; ``attrs["source"]`` counts them.

        Raises
        ------
        NetworkError
            Numbers that the convention does not have, coordinates that do not say where cells are, and cycles (their ids).

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> direction = xr.DataArray([[1, 4], [0, 16]], {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
        >>> network = xroute.Network.from_d8(direction)
        >>> network.dataset.downstream.values
        array([ 1,  3, -1,  2])
        """
        from xroute.directions.d8 import dataset_from_d8

        return cls(dataset_from_d8(direction, convention, ids, nodata, crs, mask).assign_attrs(attrs or {}))

    @classmethod
    def from_nextxy(
        cls,
        source: xr.Dataset | str | os.PathLike[str],
        *,
        nx: int | None = None,
        ny: int | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        ids: Any = None,
        attrs: Mapping[str, Any] | None = None,
        missing_downstream: MissingDownstream = "raise",
    ) -> Self:
        """Network from the maps of CaMa-Flood (Yamazaki et al. 2011): a reach for each cell, and the cell that it drains to.

        Parameters
        ----------
        source
            Dataset or netCDF file with ``nextx`` and ``nexty``, counted from 1; or ``nextxy.bin``, or the folder that holds it.
            -9 is a mouth, -10 an inland end, -9999 or NaN no land. Where latitudes rise, rows may count from the north
            or along the array: links to neighbours tell.
        nx, ny, bounds
            Numbers of columns and rows, and (west, south, east, north) [degrees] of a binary map; by default those of
            ``params.txt`` beside it.
        ids : (rows, columns), optional
            Ids of the cells; by default their numbers from 0, row by row as they stand in the array.
        attrs
            Attributes of the Dataset, such as ``scheme``.
        missing_downstream : {"raise", "outlet"}
            What to do with next cells that are not on the map, as where a part was cut out of it.

        Returns
        -------
        Network
            As of `from_d8`; and of maps that lie beside or in the Dataset: ``length`` of ``rivlen`` or ``nxtdst``, ``area`` of
            ``ctmare``, ``upstream_area`` of ``uparea``, ``width`` of ``rivwth_gwdlr`` or ``rivwth``, ``roughness`` of ``rivman``,
            ``elevation`` of ``elevtn``, ``slope`` from outlet to outlet, ``lon`` and ``lat`` of ``lonlat``.

        Raises
        ------
        NetworkError
            Files of another size than they should have, next cells that are none, and cycles (their ids).

        Examples
        --------
        >>> import xarray as xr, xroute
        >>> cells = {"lat": [50.5, 49.5], "lon": [7.5, 8.5]}
        >>> maps = xr.Dataset({"nextx": (("lat", "lon"), [[2, 2], [2, -9]]), "nexty": (("lat", "lon"), [[1, 2], [2, -9]])}, cells)
        >>> xroute.Network.from_nextxy(maps)["downstream"].values
        array([ 1,  3,  3, -1])
        """
        from xroute.directions.nextxy import dataset_from_nextxy

        return cls(dataset_from_nextxy(source, nx, ny, bounds, ids, missing_downstream).assign_attrs(attrs or {}))

    @classmethod
    def from_edges(
        cls,
        upstream: Sequence[Any] | NDArray[Any],
        downstream: Sequence[Any] | NDArray[Any],
        fraction: Sequence[float] | NDArray[Any] | None = None,
        *,
        grid: xr.DataArray | None = None,
        ids: Any = None,
        crs: Any = None,
        attrs: Mapping[str, Any] | None = None,
        missing_downstream: MissingDownstream = "raise",
    ) -> Self:
        """Network from pairs of cells of a grid: the one that drains, and the one that it drains to, near or far.

        Nodes are reaches here, as in `from_links`, which this is without a grid; of lines between nodes `from_lines`
        makes a network.

        Parameters
        ----------
        upstream, downstream : [pair]
            Numbers of cells from 0, row by row; or what ``ids`` calls them. A negative number downstream is an outlet.
        fraction : [pair], optional
            Share of the upstream cell's discharge; needed where a cell has several pairs.
        grid : (rows, columns), optional
            A field on the grid, for its coordinates; its values and their units do not matter.
        ids : (rows, columns), optional
            Ids of its cells.
        crs
            Coordinate system of the grid, where it does not say it.
        attrs
            Attributes of the Dataset, such as ``scheme``.
        missing_downstream
            As for `Network`.

        Returns
        -------
        Network
            As of `from_d8`, where there is a grid.

        Raises
        ------
        NetworkError
            Cells that are not on the grid, and as `from_links`.

        Examples
        --------
        >>> import numpy as np, xarray as xr, xroute
        >>> grid = xr.DataArray(np.zeros((2, 2)), {"lat": [50.5, 49.5], "lon": [7.5, 8.5]})
        >>> network = xroute.Network.from_edges([0, 3, 2], [2, 2, -1], grid=grid)
        >>> network.dataset.downstream.values, network.dataset.y_index.values
        (array([ 2, -1,  2]), array([0, 1, 1]))
        """
        from xroute.directions.edges import dataset_from_edges

        dataset = dataset_from_edges(upstream, downstream, fraction, grid, ids, crs, attrs)
        return cls(dataset, missing_downstream=missing_downstream)
