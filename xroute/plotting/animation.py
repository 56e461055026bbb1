"""Animations: a flood on its way down a network, a frame a step, as a file or in a notebook."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.bars import progress_bar
from xroute.engine.backends import on_host
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError, require, some
from xroute.files.writing import replacing
from xroute.ids import positions_of
from xroute.moments import selected
from xroute.network import Network
from xroute.network_files import as_network
from xroute.plotting.layout import layout_points, warn_of_unplaced
from xroute.plotting.maps import draw_network
from xroute.plotting.requests import MapRequest
from xroute.plotting.scales import Scale, draw_colour_bar, number_scale, widths_of
from xroute.plotting.style import INK, axis_label, of_members
from xroute.plotting.time_axis import along_time, time_text
from xroute.plotting.values import Values
from xroute.reach_ids import read_reach_ids
from xroute.units import require_array
from xroute.wording import argument

__all__ = ["animate"]

Float = NDArray[np.float64]

IMAGES, FILMS = (".gif", ".webp"), (".mp4", ".mov", ".mkv", ".webm")
"""Suffixes of what Pillow writes, which comes with matplotlib, and of what needs ffmpeg."""
MOST_FRAMES = 240
"""Frames, where nobody says how many: of longer series every second, third, ... step is one."""
BLOCK = 64 * 2**20
"""Bytes of discharge that are read at once."""


def animate(
    network: xr.Dataset | Network,
    discharge: xr.DataArray,
    path: str | os.PathLike[str] | None = None,
    *,
    fps: float = 10.0,
    every: int | None = None,
    time: Any = None,
    dpi: float = 100.0,
    progress: bool = True,
    time_dim: Hashable | None = None,
    **options: Any,
) -> Any:
    """Draw discharge on the map step by step, with one scale of colours for all of them, and widths that follow it.

    Parameters
    ----------
    network
        Network, drawn as `plot_network` draws it.
    discharge : (reach, time, ...)
        Discharge, matched by id; of members the median. It is read in blocks of steps, twice if it fits in none: first for the
        smallest and the largest value, which the scale begins and ends with.
    path
        File to write: a ``.gif`` or ``.webp``; with ffmpeg an ``.mp4``, ``.mov``, ``.mkv`` or ``.webm``. One that exists is
        replaced. Without it an animation of matplotlib is returned, which a notebook shows.
    fps
        Frames a second.
    every
        Step of time between frames: 1 draws each. By default as many steps as make 240 frames at most.
    time
        Times that are drawn, a slice of labels; by default all.
    dpi
        Pixels an inch.
    progress
        Whether to show a bar of progress while a file is written.
    time_dim
        Dimension of the time, where it cannot be told.
    **options
        As `plot_network` takes them: ``width`` (``"values"`` by default; ``"strahler"`` keeps widths as they are), ``norm``,
        ``vmin``, ``vmax``, ``cmap``, ``gauges``, ``layout``, ``min_order``, ``figsize``, ``title``, ...

    Returns
    -------
    pathlib.Path or matplotlib.animation.FuncAnimation
        The file, or the animation.

    Raises
    ------
    AlignmentError
        If discharge lacks reaches of the network.
    ParameterError
        For other suffixes, films without ffmpeg, a number of frames a second or steps that is not positive, and discharge
        without a value.
    TimeAxisError
        If it cannot be told which dimension is the time, or there are no such times.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import xroute
    >>> network = xroute.datasets.scheidegger(5, 4)
    >>> discharge = xroute.datasets.storm_runoff(network, 12).route(network)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = animate(network, discharge, Path(folder) / "flood.gif", every=6, dpi=40, progress=False)
    ...     made.name
    'flood.gif'
    """
    require("matplotlib", feature="plotting", extra="plot")
    unknown = set(options) - {f.name for f in fields(MapRequest)}
    if unknown:
        raise TypeError(f"animate() got an unexpected keyword argument {min(unknown)!r}")
    _check(path, fps, every)
    network = as_network(network)
    request = MapRequest(**{"width": "values", **options})
    if request.robust:
        raise ParameterError("robust=True is for a map: all frames share a scale, whose limits vmin and vmax say")
    frames = _find_frames(network, discharge, time, every, time_dim)
    film = _draw_first(network, frames, request)
    if path is None:
        return _in_notebook(film, fps)
    with replacing(path, overwrite=True) as target:
        _write(film, target, Path(path).suffix.lower(), fps, dpi, progress)
    from matplotlib import pyplot

    pyplot.close(film.figure)
    return Path(path)


def _check(path: Any, fps: float, every: int | None) -> None:
    """Refuse what cannot be written, before anything is read."""
    if not fps > 0:
        raise ParameterError(f"{argument('fps')} is a number of frames a second above 0, not {fps!r}")
    if every is not None and (isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1):
        raise ParameterError(f"{argument('every')} is a number of steps, 1 or more, not {every!r}")
    if path is None:
        return
    suffix = Path(path).suffix.lower()
    if suffix not in (*IMAGES, *FILMS):
        raise ParameterError(f"an animation is written as {', '.join((*IMAGES, *FILMS))}, and not as {str(path)!r}")
    if not Path(path).absolute().parent.is_dir():
        raise ParameterError(f"no folder {Path(path).parent} to write {Path(path).name} in")
    if suffix in FILMS:
        from matplotlib import animation

        if not animation.writers.is_available("ffmpeg"):
            raise ParameterError(f"a {suffix} needs the program ffmpeg, which is not there: install it, or write a .gif")


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Frames:
    """Discharge of the frames, read in blocks, of which the last one is kept."""

    def __init__(self, series: xr.DataArray, dim: Hashable, row: NDArray[np.int64]) -> None:
        self.series, self._dim, self._row = series, dim, row
        members = max(series.size // max(series.sizes["time"] * series.sizes[dim], 1), 1)
        self._block = max(1, BLOCK // max(8 * row.size * members, 1))
        self._kept: tuple[int, Float] | None = None

    def __len__(self) -> int:
        return int(self.series.sizes["time"])

    def __getitem__(self, j: int) -> Float:
        """Values of a frame [reach], in the network's order."""
        block = j // self._block
        if self._kept is None or self._kept[0] != block:
            part = self.series.isel(time=slice(block * self._block, (block + 1) * self._block)).isel({self._dim: self._row})
            part = part.median([d for d in part.dims if d not in (self._dim, "time")]).transpose("time", self._dim)
            self._kept = block, np.asarray(on_host(part.compute().data), np.float64)
        return self._kept[1][j % self._block]

    @property
    def label(self) -> str:
        """What is drawn, and its units."""
        members = [d for d in self.series.dims if d not in (self._dim, "time")]
        return axis_label(self.series.assign_attrs(of_members(self.series, members, "median")))

    def extremes(self) -> Float:
        """Smallest value, smallest one above zero, and largest one of all frames; none where there is no value."""
        found = []
        for j in range(len(self)):
            values = self[j]
            values = values[np.isfinite(values)]
            if values.size:
                found += [values.min(), values.max(), *([values[values > 0].min()] if (values > 0).any() else [])]
        return np.array(found, np.float64)


def _find_frames(network: Network, discharge: xr.DataArray, time: Any, every: int | None, time_dim: Hashable | None) -> _Frames:
    """The steps that are drawn, of the reaches of the network, not read yet."""
    series = along_time(require_array(discharge, "discharge"), time_dim)
    dim, _, ids = read_reach_ids(series, network.ids, None, "time", "discharge")
    row = positions_of(network.ids, ids)
    if (row < 0).any():
        raise AlignmentError(f"the discharge lacks {int((row < 0).sum())} reaches of the network: {some(network.ids[row < 0])}")
    if time is not None:
        series = series.isel(time=selected(series, "time", time, "the time"))
    if not series.sizes["time"]:
        raise TimeAxisError(f"there is no discharge{'' if time is None else f' at time {time!r}'} to draw")
    return _Frames(series.isel(time=slice(None, None, every or -(-series.sizes["time"] // MOST_FRAMES))), dim, row)


@dataclass(frozen=True, eq=False)
class _Film:
    """A drawn figure whose lines and dots change from frame to frame.

    Attributes
    ----------
    parts
        Artists that have colours, the reach that each line or dot of them is of, and what their widths are multiplied by; None
        where widths stay.
    most
        The largest value, which the widest lines have.
    """

    figure: Any
    ax: Any
    frames: _Frames
    parts: list[tuple[Any, NDArray[np.int64], float | None]]
    most: float
    title: str

    def show(self, j: int) -> None:
        """Draw a frame."""
        values = self.frames[j]
        widths = widths_of(np.append(values, self.most))[:-1]
        for artist, reach, factor in self.parts:
            artist.set_array(np.ma.masked_invalid(values[reach]))
            if factor is not None:
                artist.set_linewidths(factor * widths[reach])
        self.ax.set_title(f"{self.title}{time_text(self.frames.series, j)}", loc="left", color=INK, fontsize=11)


def _draw_first(network: Network, frames: _Frames, request: MapRequest) -> _Film:
    """The map, with the scale of all frames."""
    points = layout_points(network, request.layout)
    warn_of_unplaced(network, points)
    extremes, label = frames.extremes(), request.label or frames.label
    if not extremes.size:
        raise ParameterError(f"{label}: no value of the {len(frames)} frames is a number; nothing to draw")
    known = Values(extremes, label)
    scale = number_scale(
        known, norm=request.norm, cmap=request.cmap, vmin=request.vmin, vmax=request.vmax, center=request.center,
        levels=request.levels,
    )  # fmt: skip
    numbers = xr.DataArray(np.arange(float(network.n_reaches)), {"reach": network.ids})  # each line says of which reach it is
    follow = isinstance(request.width, str) and request.width in ("values", "discharge", frames.series.name)
    plain = replace(
        request, width="strahler" if follow else request.width, norm=None, cmap=None, vmin=None, vmax=None, center=None,
        levels=None, robust=False, colorbar=False, legend=request.basins is not False, title=None,
    )  # fmt: skip
    ax = draw_network(network, points, numbers, None, plain)
    most = float(extremes.max(initial=0.0))
    parts: list[tuple[Any, NDArray[np.int64], float | None]] = []
    for artist in ax.collections:
        numbered = artist.get_array()
        if numbered is not None:
            reach = np.ma.getdata(numbered).astype(np.int64)
            parts.append((artist, reach, request.scale if follow and hasattr(artist, "get_segments") else None))
            _colour(artist, scale)
    if request.colorbar and parts:
        draw_colour_bar(ax, parts[0][0], scale, known, request.label)
    film = _Film(ax.figure, ax, frames, parts, most, "" if request.title is None else f"{request.title}, ")
    film.show(0)
    film.figure.canvas.draw()
    film.figure.set_layout_engine("none")  # nothing moves from frame to frame
    return film


def _colour(artist: Any, scale: Scale) -> None:
    artist.set_cmap(scale.cmap)
    artist.set_norm(scale.norm)


# ── where it goes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _in_notebook(film: _Film, fps: float) -> Any:
    """Animation of matplotlib that a notebook shows as a player."""
    from matplotlib.animation import FuncAnimation

    class Flood(FuncAnimation):
        """Animation that shows itself in a notebook."""

        def _repr_html_(self) -> str:
            from matplotlib import pyplot

            pyplot.close(film.figure)  # else it stands there once more, still
            return str(self.to_jshtml(fps=int(max(fps, 1))))

    return Flood(film.figure, lambda j: film.show(j), frames=len(film.frames), interval=1000 / fps, repeat=True, blit=False)


def _write(film: _Film, target: Path, suffix: str, fps: float, dpi: float, progress: bool) -> None:
    with progress_bar(shown=progress, total=len(film.frames), desc="frames") as bar:
        if suffix in IMAGES:
            images = _images(film, bar, dpi)
            options = {"save_all": True, "duration": max(round(1000 / fps), 20), "loop": 0}
            next(images).save(target, format=suffix[1:], append_images=images, **options)
            return
        from matplotlib.animation import FFMpegWriter

        rate: Any = fps
        with FFMpegWriter(fps=rate).saving(film.figure, str(target), dpi) as writer:
            for j in range(len(film.frames)):
                film.show(j)
                writer.grab_frame()
                bar.update()


def _images(film: _Film, bar: Any, dpi: float) -> Iterator[Any]:
    """Pictures of the frames, one after another, of 256 colours each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    film.figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(film.figure)
    for j in range(len(film.frames)):
        film.show(j)
        canvas.draw()
        bar.update()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(256)
