"""From values to colours and widths: which scale fits them, and how a colour bar or a legend says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.plotting.style import CATEGORY_COLOURS, PALE
from xroute.plotting.values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize

__all__ = ["Scale", "category_scale", "crowding", "draw_colour_bar", "number_scale", "red_to_blue", "water", "widths_of"]

Float = NDArray[np.float64]

WIDE = 30.0
"""Positive values that span more than this factor have a logarithmic scale."""
DECADES = 1e6
"""A logarithmic scale that nobody limits ends at this part of the largest value."""
BESIDE_ZERO = 1e-3
"""Values lie on both sides of zero if the smaller side reaches this part of the larger: rounding errors do not."""
THIN, THICK = 0.35, 3.4
"""Width of the smallest river, and what the largest has more [points]."""
CROWDED = 20_000
"""Reaches; a picture of more has thinner lines."""


@dataclass(frozen=True)
class Scale:
    """How values become colours.

    Attributes
    ----------
    norm, cmap
        As matplotlib takes them.
    extend
        Which ends of the colour bar are pointed: values beyond them have the colour of the end.
    note
        What the label says beside name and units.
    """

    norm: Normalize
    cmap: Colormap
    extend: Any = "neither"
    note: str = ""


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def number_scale(
    values: Values,
    *,
    norm: Any = None,
    cmap: Any = None,
    vmin: float | None = None,
    vmax: float | None = None,
    robust: bool = False,
    center: Any = None,
    levels: int | Sequence[float] | None = None,
) -> Scale:
    """Scale of numbers, with the options of xarray's plots.

    Where nobody says otherwise it is diverging, the same on both sides of zero, where values lie on both; logarithmic where
    they are positive and span more than a factor of 30, zeros among them in the colour of its lower end; and linear else.

    Raises
    ------
    ParameterError
        If no value is finite, and for options that contradict each other.
    """
    from matplotlib.colors import BoundaryNorm, LogNorm, Normalize

    finite = values.finite
    if not finite.size:
        raise ParameterError(
            f"{values.label or 'the values'}: none of the {values.numbers.size} values is a number; nothing to draw"
        )
    _check_limits(vmin, vmax, norm)
    if isinstance(norm, Normalize):
        if norm.vmin is None or norm.vmax is None:  # one of the caller's own is not changed, but for what it leaves open
            norm.autoscale_None(finite[finite > 0] if isinstance(norm, LogNorm) and (finite > 0).any() else finite)
        note = _note(finite, isinstance(norm, LogNorm))
        if note and not norm.clip:  # it takes what it cannot show for no value
            note = note.replace("palest", "grey")
        return Scale(norm, _colours(cmap, False), _extend(finite, norm.vmin, norm.vmax), note)
    low, high = _limits(finite, robust, vmin, vmax)
    free = norm is None and vmin is None and vmax is None
    diverging = center is not False and (center is not None or (free and _straddles(low, high)))
    logarithmic = norm == "log" or (
        norm is None and not diverging and levels is None and not values.dates and _is_wide(finite, vmin, vmax)
    )
    if norm not in (None, "log", "linear"):
        raise ParameterError(f"norm is 'log', 'linear' or a matplotlib Normalize, not {norm!r}")
    if diverging:
        middle = 0.0 if center is None or center is True else float(center)
        reach = max(abs(high - middle), abs(low - middle)) or 1.0
        low = middle - reach if vmin is None else low
        high = middle + reach if vmax is None else high
    elif logarithmic:
        low, high = _log_limits(finite, low, high, vmin, vmax)
    colours = _colours(cmap, diverging)
    extend = _extend(finite, low, high)
    if levels is not None:
        bounds = _bounds(levels, low, high, logarithmic)
        return Scale(BoundaryNorm(bounds, colours.N, extend=_extend(finite, bounds[0], bounds[-1])), colours)
    if logarithmic:
        return Scale(LogNorm(low, high, clip=True), colours, extend, _note(finite, True))
    return Scale(Normalize(low, high), colours, extend)


def _check_limits(vmin: float | None, vmax: float | None, norm: Any) -> None:
    from matplotlib.colors import Normalize

    if isinstance(norm, Normalize) and not (vmin is None and vmax is None):
        raise ParameterError("norm has limits of its own: give it, or vmin and vmax")
    for name, value in (("vmin", vmin), ("vmax", vmax)):
        if value is not None and not np.isfinite(value):
            raise ParameterError(f"{name} is a number, not {value!r}")
    if vmin is not None and vmax is not None and vmin >= vmax:
        raise ParameterError(f"vmin={vmin:g} is not below vmax={vmax:g}")


def _limits(finite: Float, robust: bool, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    """Limits of a linear scale: the values' own, or without the outermost 2 % on each side; those of equal values hold zero."""
    low, high = np.percentile(finite, [2, 98]).tolist() if robust else (float(finite.min()), float(finite.max()))
    low, high = low if vmin is None else float(vmin), high if vmax is None else float(vmax)
    if low >= high:
        if vmin is None and vmax is None:
            low, high = min(low, 0.0), max(high, 0.0)
            return (low, high) if low < high else (0.0, 1.0)
        return (low, low + (abs(low) or 1.0)) if vmax is None else (high - (abs(high) or 1.0), high)
    return low, high


def _straddles(low: float, high: float) -> bool:
    return low < 0 < high and min(-low, high) >= BESIDE_ZERO * max(-low, high)


def _is_wide(finite: Float, vmin: float | None, vmax: float | None) -> bool:
    """Whether a logarithmic scale fits: no value is negative, and the positive ones span a wide range."""
    positive = finite[finite > 0]
    if finite.min() < 0 or not positive.size or any(limit is not None and limit <= 0 for limit in (vmin, vmax)):
        return False
    return float(vmax or positive.max()) > WIDE * float(vmin or positive.min())


def _log_limits(finite: Float, low: float, high: float, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    positive = finite[finite > 0]
    if high <= 0 or not positive.size or (vmin is not None and vmin <= 0):
        raise ParameterError(
            f"a logarithmic scale needs positive values and limits; values lie between {finite.min():g} and {finite.max():g}"
        )
    if vmin is None:
        least = float(positive.min())
        low = max(least if low <= 0 else low, high / DECADES)
        low = low if low < high else min(least, high / 10)
    return (low, high) if low < high else (high / 10, high)


def _bounds(levels: int | Sequence[float], low: float, high: float, logarithmic: bool) -> Float:
    """Levels that are given, or about so many round ones."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if isinstance(levels, (int, np.integer)):
        if isinstance(levels, bool) or levels < 2:
            raise ParameterError(f"levels are at least 2, or a list of them, not {levels!r}")
        locator = LogLocator(numticks=int(levels)) if logarithmic else MaxNLocator(int(levels) - 1, min_n_ticks=1)
        bounds = np.asarray(locator.tick_values(low, high))
    else:
        bounds = np.asarray(levels, np.float64)
    if bounds.ndim != 1 or bounds.size < 2 or not (np.diff(bounds) > 0).all():
        raise ParameterError(f"levels are at least two numbers that increase, not {some(bounds.ravel())}")
    return bounds


def _extend(finite: Float, low: float | None, high: float | None) -> Any:
    under = low is not None and bool(finite.min() < low - 1e-9 * abs(low))
    over = high is not None and bool(finite.max() > high + 1e-9 * abs(high))
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((under, over), "neither")


def _note(finite: Float, logarithmic: bool) -> str:
    """That a logarithmic scale has zeros or negative values in the colour of its lower end."""
    if not logarithmic or finite.min() > 0:
        return ""
    return "palest: 0" if finite.min() == 0 else "palest: 0 or less"


def _colours(cmap: Any, diverging: bool) -> Colormap:
    """A colour map, whose colour for no value is grey."""
    from matplotlib import colormaps

    if cmap is None:
        found = red_to_blue() if diverging else water()
    elif isinstance(cmap, str):
        if cmap not in colormaps:
            raise ParameterError(
                f"matplotlib knows no colour map {cmap!r}; 'viridis' and 'cividis' are two that colour-blind readers can tell"
            )
        found = colormaps[cmap]
    elif isinstance(cmap, (list, tuple)):
        from matplotlib.colors import LinearSegmentedColormap

        found = LinearSegmentedColormap.from_list("given", list(cmap))
    else:
        return cmap
    return found.with_extremes(bad=PALE)


def water() -> Colormap:
    """Viridis from dark to light reversed, without its palest end, which white paper would swallow."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis_r"](np.linspace(0.12, 1.0, 256)), name="water")


def red_to_blue() -> Colormap:
    """RdBu, whose middle is grey instead of white, so that rivers near zero are seen on white paper."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps["RdBu"](np.linspace(0.0, 1.0, 256))
    luminance = colours[:, :3] @ (0.2126, 0.7152, 0.0722)
    colours[:, :3] *= np.minimum(1.0, 0.78 / luminance)[:, None]
    return ListedColormap(colours, name="RdBu")


def draw_colour_bar(ax: Axes, mappable: Any, scale: Scale, values: Values, label: str | None) -> Any:
    """Colour bar of a scale beside a map."""
    from matplotlib.colors import BoundaryNorm, LogNorm
    from matplotlib.ticker import MaxNLocator

    options: Any = {} if isinstance(scale.norm, BoundaryNorm) else {"extend": scale.extend}
    bar = ax.figure.colorbar(mappable, ax=ax, shrink=0.6, aspect=32, pad=0.02, **options)
    said = values.label if label is None else label
    bar.set_label(f"{said}; {scale.note}" if scale.note and label is None else said)
    bar.outline.set_visible(False)
    if values.dates:
        from matplotlib import dates

        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        bar.ax.yaxis.set_major_locator(locator)
        bar.ax.yaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    elif values.whole and not isinstance(scale.norm, (BoundaryNorm, LogNorm)):
        bar.locator = MaxNLocator(integer=True)
        bar.update_ticks()
    return bar


# ── categories ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def category_scale(values: Values, cmap: Any = None) -> tuple[Scale, list[tuple[str, Any]]]:
    """Scale of categories, and what a legend says: names and their colours.

    The most frequent have colours of their own; where there are more than colours, those left share one, and are counted.
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap

    n = len(values.names)
    if not n:
        raise ParameterError(f"{values.label or 'the values'}: every reach lacks one; nothing to draw")
    colours: list[Any] = list(CATEGORY_COLOURS)
    if cmap is not None:
        found = _colours(cmap, False)
        colours = [found(k / max(min(n, found.N) - 1, 1)) for k in range(min(n, found.N))] if n > 1 else [found(0.5)]
    own = n if n <= len(colours) else len(colours) - 1
    if n > own:
        colours = [*colours[:own], OTHERS]
    shown = ListedColormap(colours[: own + (n > own)], name="categories").with_extremes(bad=PALE)
    edges = np.append(np.arange(own + 1) - 0.5, [n - 0.5] if n > own else [])
    entries = [(name, colours[k]) for k, name in enumerate(values.names[:own])]
    if n > own:
        entries.append((f"{n - own} others", OTHERS))
    return Scale(BoundaryNorm(edges, shown.N), shown), entries


OTHERS = "#5b646c"
"""Colour of the categories that have none of their own."""

# ── widths ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def crowding(n_reaches: int) -> float:
    """Factor on line widths, below 1 where there are so many reaches that their lines would hide each other."""
    return float(min(1.0, (CROWDED / max(n_reaches, 1)) ** 0.25))


def widths_of(numbers: Float, *, by_order: bool = False) -> Float:
    """Width of each reach [points], before any factor: from the square root of its value, as a river's own width goes.

    Orders are a scale of their own: from the first to the last. A reach without a value is as thin as the thinnest.

    References
    ----------
    Leopold, L. B., and Maddock, T. (1953). The hydraulic geometry of stream channels and some physiographic implications.
    U.S. Geological Survey Professional Paper 252: width goes with the square root of discharge.
    """
    size = np.nan_to_num(np.abs(numbers), nan=0.0)
    if by_order:
        weight = ((size - 1) / max(size.max(initial=1.0) - 1, 1.0)) ** 1.5
    else:
        largest = size.max(initial=0.0)
        weight = np.sqrt(size / largest) if largest > 0 else np.zeros(size.size)
    return THIN + THICK * weight
