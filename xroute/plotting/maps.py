"""Maps of river networks: lines that bend and join as rivers do, wider and darker where more water flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import AlignmentError, ParameterError, require, some
from xroute.ids import exact_ids, positions_of
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.style import INK, PALE, axis_label
from xroute.topology import drains_to

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

__all__ = ["places", "plot_network"]

SMOOTH_LIMIT = 50_000  # reaches; a map of more is drawn with straight lines, which no eye can tell

Float = NDArray[np.float64]


def plot_network(
    network: xr.Dataset | Network,
    values: xr.DataArray | None = None,
    ax: Axes | None = None,
    *,
    width: Literal["strahler", "values"] = "strahler",
    norm: Normalize | None = None,
    cmap: str | Colormap | None = None,
    color: str = "#2b6f9e",
    colorbar: bool = True,
    label: str | None = None,
    scale: float = 1.0,
    min_order: int = 1,
) -> Axes:
    """Draw a river network as a map, from the ``lon`` and ``lat`` of its reaches.

    Parameters
    ----------
    network
        Network with ``lon`` and ``lat`` [degrees].
    values
        What the reaches are coloured by, on ``reach``, matched by id: a discharge, say. Without it, one colour.
    ax
        Axes to draw on; by default a new figure's.
    width
        Line width by Strahler order, or by the square root of ``values`` (as a river's own width goes).
    norm, cmap
        Colour scale; by default logarithmic if values are positive and span more than a factor of 30.
    color
        Colour of a map without values.
    colorbar, label
        Whether to draw a colour bar, and its label; by default long name and units of the values.
    scale
        Factor on all line widths.
    min_order
        Smallest Strahler order to draw; 1 draws every reach.

    Returns
    -------
    matplotlib.axes.Axes
        What was drawn on.

    Raises
    ------
    ParameterError
        If the network has no ``lon`` or ``lat``, or width by values lacks values.
    AlignmentError
        If values lack reaches of the network, or have other dimensions than ``reach``.

    Examples
    --------
    >>> from xroute.datasets import tutorial
    >>> network, runoff = tutorial()
    >>> ax = plot_network(network, network.area, min_order=2)
    >>> len(ax.collections)
    1
    """
    require("matplotlib", feature="plotting", extra="plot")
    from matplotlib import pyplot
    from matplotlib.collections import LineCollection

    network = as_network(network)
    if values is None and width == "values":
        raise ParameterError("width='values' needs values; give them, or choose width='strahler'")
    if ax is None:
        ax = pyplot.subplots(figsize=(7, 7), layout="constrained")[1]
    amount = None if values is None else _on_reaches(values, network)
    order = network.strahler.to_numpy()
    if amount is not None and width == "values":
        largest = np.nanmax(amount, initial=0.0)
        weight = np.sqrt(np.clip(amount, 0.0, None) / largest) if largest > 0 else np.zeros(amount.size)
    else:
        weight = (order - 1) / max(order.max(initial=1) - 1, 1)
    reach, paths = _paths(network)
    shown = np.flatnonzero(order[reach] >= min_order)
    shown = shown[np.argsort(weight[reach[shown]], kind="stable")]  # large rivers lie over small ones
    reach = reach[shown]

    lines = LineCollection(
        cast("Any", paths[shown]),
        linewidths=scale * (0.35 + 3.4 * weight[reach] ** (1.0 if width == "values" else 1.5)),
        capstyle="round",
        joinstyle="round",
        rasterized=reach.size > SMOOTH_LIMIT,
    )
    if amount is None:
        lines.set_color(color)
    else:
        lines.set_cmap(_water() if cmap is None else cmap)
        lines.set_norm(_scale_of(amount) if norm is None else norm)
        lines.set_array(amount[reach])
        if colorbar:
            bar = ax.figure.colorbar(lines, ax=ax, shrink=0.6, aspect=32, pad=0.02)
            bar.set_label(axis_label(cast("xr.DataArray", values)) if label is None else label)
            bar.outline.set_visible(False)
    ax.add_collection(lines)
    ax.autoscale_view()
    _dress_map(ax, network)
    return ax


def places(network: Network) -> tuple[Float, Float]:
    """Longitude and latitude of each reach [degrees]."""
    missing = [name for name in ("lon", "lat") if name not in network.dataset]
    if missing:
        raise ParameterError(f"a map needs the reaches' lon and lat; the network has no {' and no '.join(missing)}")
    return network.dataset["lon"].to_numpy().astype(float), network.dataset["lat"].to_numpy().astype(float)


def _on_reaches(values: xr.DataArray, network: Network) -> Float:
    if values.dims != ("reach",):
        raise AlignmentError(f"a map shows values on ('reach',), not on {values.dims}: select or reduce the others")
    position = positions_of(network.ids, exact_ids(values["reach"].to_numpy(), "values", AlignmentError))
    if (position < 0).any():
        raise AlignmentError(f"the values lack reaches of the network: {some(network.ids[position < 0])}")
    return values.to_numpy()[position].astype(float)


def _paths(network: Network) -> tuple[NDArray[np.int64], Float]:
    """A line for each link, from the reach upstream to the one downstream.

    Returns
    -------
    reach : int [line]
        Position of the reach upstream, by which the line is coloured.
    path : float [line, point, 2]
        Longitude and latitude along it.
    """
    point = np.column_stack(places(network))
    upstream, downstream, _ = network.links
    if upstream.size > SMOOTH_LIMIT:
        return upstream, np.stack([point[upstream], point[downstream]], axis=1)
    onward = drains_to(network.links, network.n_reaches)
    onward = np.where(onward < 0, np.arange(network.n_reaches), onward)
    # From the middle of one link to the middle of the next, bent round the reach between: confluences become tangents.
    begin = 0.5 * (point[upstream] + point[downstream])
    end = 0.5 * (point[downstream] + point[onward[downstream]])
    t = np.linspace(0.0, 1.0, 7)[:, None]
    bend = (1 - t) ** 2 * begin[:, None] + 2 * t * (1 - t) * point[downstream][:, None] + t**2 * end[:, None]
    is_headwater = ~np.isin(upstream, downstream)
    source = np.where(is_headwater[:, None], point[upstream], begin)
    return upstream, np.concatenate([source[:, None], bend], axis=1)


def _scale_of(amount: Float) -> Normalize:
    from matplotlib.colors import LogNorm, Normalize

    finite = amount[np.isfinite(amount)]
    if finite.size and finite.min() > 0 and finite.max() > 30 * finite.min():
        return LogNorm(finite.min(), finite.max())
    return Normalize(finite.min(initial=0.0), finite.max(initial=0.0))


def _water() -> Colormap:
    """Viridis from dark to light reversed, without its palest end, which white paper would swallow."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1.0, 256)), name="water")


def _dress_map(ax: Axes, network: Network) -> None:
    _, lat = places(network)
    middle = 0.5 * (lat.min() + lat.max()) if lat.size else 0.0
    ax.set_aspect(1.0 / max(np.cos(np.radians(middle)), 0.05))
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}°{'W' if value < 0 else 'E'}")
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}°{'S' if value < 0 else 'N'}")
    ax.locator_params(nbins=5)
    ax.spines[:].set_visible(False)
    ax.tick_params(color=PALE, labelcolor=INK)
