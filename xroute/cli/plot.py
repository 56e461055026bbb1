"""``xroute plot``: a picture of discharge: an overview, a map, hydrographs, a profile or an animation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import (
    FILES,
    PICTURES,
    READABLE,
    NetworkOptions,
    grouped,
    network_options,
    open_observed,
    protect,
)
from xroute.settings import PICTURE

if TYPE_CHECKING:
    import xarray as xr

    from xroute.network import Network

__all__ = ["plot"]

LARGE = 2**28
"""Bytes of discharge from which on it is read in blocks, where all of it is looked at."""
BLOCK = 2**26


@dataclass(frozen=True)
class PictureOptions:
    """What is drawn, and how; fields bear the names of options."""

    reach: tuple[str, ...]
    to: str | None
    time: str | None
    observed: Path | None
    observed_variable: str | None
    observed_units: str | None
    runoff: tuple[str, ...]
    members: bool
    quantiles: str | None
    thresholds: tuple[str, ...]
    log: bool
    col_wrap: int | None
    relative: bool
    fps: float | None
    every: int | None
    title: str | None

    def given(self) -> list[str]:
        """Options that were given."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) not in (None, False, ())]


_BESIDE = ("overview", "hydrograph")
KINDS_OF: Mapping[str, tuple[str, ...]] = {
    "to": ("profile",), "relative": ("profile",), "fps": ("animation",), "every": ("animation",), "log": ("hydrograph",),
    "col_wrap": ("hydrograph",), "observed": _BESIDE, "observed_variable": _BESIDE, "observed_units": _BESIDE, "runoff": _BESIDE,
    "members": _BESIDE, "quantiles": _BESIDE, "thresholds": _BESIDE,
}  # fmt: skip
"""Kinds of pictures that an option is for; others are for all."""
EXAMPLES = """\b
Examples:
  xroute plot q.nc network.zarr -o flood.png
  xroute plot q.nc -o bridge.png --reach 42=Bridge --observed gauges.csv --thresholds alert=120
  xroute plot q.nc network.zarr -o wave.png --kind profile --reach 7
  xroute plot q.nc network.zarr -o noon.png --kind map --time 2001-05-03T12
  xroute plot q.nc network.zarr -o flood.gif --every 3
"""


@click.command(epilog=EXAMPLES)
@click.argument("discharge", type=FILES)
@click.argument("network", type=READABLE, required=False)
@click.option("-o", "--output", type=READABLE, required=True, metavar="FILE",
              help="Picture to write (.png, .pdf, .svg, .jpg; of an animation .gif, .webp, or with ffmpeg .mp4).")
@click.option("--kind", type=click.Choice(PICTURE),
              help="What to draw. By default an animation where FILE is one, else an overview; without NETWORK hydrographs.")
@grouped(
    "picture", PictureOptions,
    click.option("--reach", multiple=True, metavar="ID[=NAME]",
                 help="Reach to draw, or to mark on a map; of a profile the one it begins at. May be given more than once."),
    click.option("--to", metavar="ID", help="Last reach of a profile; by default the outlet."),
    click.option("--time", metavar="TIME or FROM/TO", help="A time, such as 2001-05-03T12, or a span of them; by default all."),
    click.option("--observed", type=READABLE, metavar="FILE",
                 help="Observed discharge beside hydrographs: a .csv, netCDF or Zarr, as for `xroute compare`."),
    click.option("--observed-variable", metavar="NAME", help="Variable of the observations, when there are several."),
    click.option("--observed-units", metavar="UNITS", help="Units of the observations, where they do not say, such as ft3/s."),
    click.option("--runoff", type=FILES, multiple=True, metavar="FILE",
                 help="Runoff, hanging from the top: of hydrographs that of the reaches upstream, if there is a NETWORK."),
    click.option("--members", is_flag=True, help="Draw each member of an ensemble as a thin line."),
    click.option("--quantiles", metavar="Q,...", help="Quantiles of an ensemble, such as 0.05,0.25,0.5,0.75,0.95."),
    click.option("--thresholds", multiple=True, metavar="NAME=VALUE",
                 help="Flow to draw as a line, in the units of the discharge, such as alert=120. May be given more than once."),
    click.option("--log", is_flag=True, help="Draw hydrographs on a logarithmic axis."),
    click.option("--col-wrap", type=click.IntRange(min=1), metavar="N",
                 help="A panel for each reach, so many in a row; by default if there are more than six."),
    click.option("--relative", is_flag=True, help="Draw a profile as share of each reach's highest discharge."),
    click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Frames a second of an animation.  [default: 10]"),
    click.option("--every", type=click.IntRange(min=1), metavar="STEPS",
                 help="Steps of time between frames; by default so many as make 240 frames at most."),
    click.option("--title", metavar="TEXT", help="Title of the picture."),
)
@click.option("--dpi", type=click.FloatRange(min=10), help="Dots an inch.  [default: 150, of an animation 100]")
@click.option("--variable", metavar="NAME", help="Variable of DISCHARGE, when there are several.")
@click.option("--time-dim", metavar="NAME", help="Dimension of the time, when names and labels do not tell.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@network_options  # fmt: skip
def plot(
    discharge: str, network: Path | None, output: Path, kind: str | None, picture: PictureOptions, table: NetworkOptions,
    dpi: float | None, variable: str | None, time_dim: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Draw DISCHARGE: on the map of NETWORK, along it, or as hydrographs.

    DISCHARGE is what `xroute route` wrote, or any file of discharge on reaches: netCDF, Zarr, a table, or a 'pattern' of several
    files. Of large files only what is drawn is read.
    """
    from xroute.exceptions import require
    from xroute.io.common import expand_paths

    drawn = _kind(kind, network, output, picture)
    require("matplotlib", feature="xroute plot", extra="plot")
    paths = expand_paths([discharge], "discharge")
    others = [path for path in (network, picture.observed) if path is not None]
    others += expand_paths(list(picture.runoff)) if picture.runoff else []
    _check_output(output, overwrite, [*paths, *others])
    from matplotlib import use

    use("Agg")
    from xroute.cli.forcing import open_rivers
    from xroute.files.writing import replacing

    rivers = None if network is None else open_rivers(network, table, "DISCHARGE, NETWORK")
    array = _at(_open(paths, variable), picture.time, time_dim, drawn)
    draw = _Drawing(array, rivers, picture, time_dim)
    if drawn == "animation":
        draw.animation(output, dpi or 100.0)
    else:
        figure = getattr(draw, drawn)()
        with replacing(output, overwrite=overwrite) as draft:
            figure.savefig(draft, dpi=dpi or 150.0, bbox_inches="tight")
    click.echo(f"Saved {output}")


def _kind(kind: str | None, network: Path | None, output: Path, picture: PictureOptions) -> str:
    """What is drawn; refuses options that are not for it, and files that it is not written in."""
    from xroute.plotting.animation import FILMS, IMAGES

    suffix = output.suffix.lower()
    moves = suffix in (*IMAGES, *FILMS)
    found = kind or ("animation" if moves else "overview" if network is not None else "hydrograph")
    wanted = (*IMAGES, *FILMS) if found == "animation" else PICTURES
    if suffix not in wanted:
        what = "an animation" if found == "animation" else f"a picture of kind {found}"
        raise click.UsageError(f"{what} is written as {', '.join(wanted)}, and not as {output}")
    if found != "hydrograph" and network is None:
        raise click.UsageError(f"--kind {found} needs NETWORK, behind DISCHARGE; without one there are hydrographs of --reach ID")
    strange = [name for name in picture.given() if found not in KINDS_OF.get(name, PICTURE)]
    if strange:
        option, kinds = strange[0].replace("_", "-"), " or ".join(KINDS_OF[strange[0]])
        raise click.UsageError(f"--{option} is not for --kind {found}, but for --kind {kinds}")
    if found == "profile" and len(picture.reach) > 1:
        raise click.UsageError("a profile begins at one reach: give --reach once, and --to for its end")
    return found


def _check_output(output: Path, overwrite: bool, inputs: list[Path]) -> None:
    """Refuse what cannot be written, before anything is read."""
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; --overwrite replaces it")
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} in")
    protect(inputs, [output])


def _open(paths: list[Path], variable: str | None) -> xr.DataArray:
    """Discharge, not read yet."""
    from xroute.io.common import open_runoff
    from xroute.series import open_series

    array = open_series(paths[0], variable, option="variable") if len(paths) == 1 else open_runoff(paths, variable)
    return array.reset_coords(drop=True) if array.ndim == 0 else array


def _at(array: xr.DataArray, time: str | None, time_dim: str | None, kind: str) -> xr.DataArray:
    """Discharge of the times that are drawn, in blocks where it is large."""
    import numpy as np

    from xroute.exceptions import TimeAxisError
    from xroute.moments import selected
    from xroute.plotting.time_axis import along_time, time_text

    array = along_time(array, time_dim)
    if time is not None:
        begin, slash, end = time.partition("/")
        if slash and not (begin or end):
            raise click.BadParameter(f"{time!r} is no time, nor FROM/TO", param_hint="--time")
        label: Any = slice(begin.strip() or None, end.strip() or None) if slash else time.strip()
        if array["time"].dtype.kind == "m":
            label = _leads(label)
        try:
            at = selected(array, "time", label, "--time")
        except TimeAxisError:
            at = np.empty(0, np.int64)
        if not at.size:
            n = array.sizes["time"]
            span = f": it goes from {time_text(array, 0)} to {time_text(array, n - 1)}" if n else ""
            raise TimeAxisError(f"there is no discharge at --time {time}{span}")
        array = array.isel(time=at[:1] if kind == "map" and not slash else at)
    if array.chunks is None and array.nbytes > LARGE and kind in ("overview", "map"):
        per_step = max(array.nbytes // max(array.sizes["time"], 1), 1)
        array = array.chunk(time=int(np.clip(BLOCK // per_step, 1, array.sizes["time"])))
    return array


def _leads(label: Any) -> Any:
    """A time or a span of a forecast: leads such as 12h."""
    import pandas as pd

    def lead(text: str | None) -> Any:
        try:
            return None if text is None else pd.Timedelta(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is no lead time, such as 12h", param_hint="--time") from None

    return slice(lead(label.start), lead(label.stop)) if isinstance(label, slice) else lead(label)


def _ids(texts: list[str], array: xr.DataArray, rivers: Network | None) -> list[Hashable]:
    """Ids as the discharge or the network has them: whole numbers or text."""
    import numpy as np

    from xroute.exceptions import AlignmentError
    from xroute.reach_ids import read_reach_ids

    whole = [text.lstrip("-").isdecimal() for text in texts]
    if rivers is not None:
        number = rivers.ids.dtype.kind == "i"
    else:
        try:
            asked = np.array([int(text) for text in texts if text.lstrip("-").isdecimal()], np.int64)
            number = read_reach_ids(array, asked, None, "time", "discharge")[2].dtype.kind == "i"
        except AlignmentError:
            number = False
    if number and not all(whole):
        raise click.BadParameter(f"{texts[whole.index(False)]!r} is no id: ids are whole numbers here", param_hint="--reach")
    return [int(text) for text in texts] if number else list(texts)


def _threshold(text: str) -> tuple[str, float]:
    name, separator, value = text.rpartition("=")
    try:
        return (name.strip() or value.strip()) if separator else value.strip(), float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as alert=120", param_hint="--thresholds") from None


class _Drawing:
    """One method a kind of picture, which returns a figure."""

    def __init__(self, array: xr.DataArray, rivers: Network | None, picture: PictureOptions, time_dim: str | None) -> None:
        self.array, self.rivers, self.picture = array, rivers, picture
        pairs = [text.partition("=")[::2] for text in picture.reach]
        ids = _ids([text.strip() for text, _ in pairs], array, rivers)
        self.gauges = {i: name or f"reach {i}" for i, (_, name) in zip(ids, pairs, strict=True)} or None

    def _beside(self) -> dict[str, Any]:
        """What is drawn beside hydrographs."""
        from xroute.io.common import expand_paths, open_runoff

        picture = self.picture
        found: dict[str, Any] = {}
        if picture.observed is not None:
            found["observed"] = open_observed(picture.observed, picture.observed_variable, picture.observed_units)
        if picture.runoff:
            found["runoff"] = open_runoff(expand_paths(list(picture.runoff)))
        if picture.members:
            found["members"] = True
        if picture.quantiles is not None:
            try:
                found["quantiles"] = tuple(float(q) for q in picture.quantiles.split(",") if q.strip())
            except ValueError:
                raise click.BadParameter(f"{picture.quantiles!r} are no numbers from 0 to 1", param_hint="--quantiles") from None
        if picture.thresholds:
            found["thresholds"] = dict(map(_threshold, picture.thresholds))
        return found

    def overview(self) -> Any:
        """The map of peaks beside hydrographs."""
        from xroute.plotting import overview

        assert self.rivers is not None
        return overview(self.rivers, self.array, self.gauges, title=self.picture.title, **self._beside())

    def map(self) -> Any:
        """Discharge at a time, or its peaks."""
        from xroute.plotting import plot_network
        from xroute.plotting.style import of_members
        from xroute.plotting.time_axis import time_text
        from xroute.reach_ids import read_reach_ids

        assert self.rivers is not None
        dim = read_reach_ids(self.array, self.rivers.ids, None, "time", "discharge")[0]
        values = self.array.max([d for d in self.array.dims if d != dim]).compute()
        alone = self.array.sizes["time"] == 1
        named = self.array.assign_attrs(long_name="discharge" if alone else "peak discharge")
        values.attrs = of_members(named, [d for d in self.array.dims if d not in (dim, "time")], "largest")
        title = self.picture.title or (time_text(self.array, 0) if alone else None)
        return plot_network(self.rivers, values, width="values", gauges=self.gauges, title=title).figure

    def hydrograph(self) -> Any:
        """Discharge against time."""
        from xroute.plotting import plot_hydrographs

        picture, beside = self.picture, self._beside()
        if "runoff" in beside and self.rivers is not None:
            beside["network"] = self.rivers
        drawn = plot_hydrographs(self.array, self.gauges, log=picture.log, col_wrap=picture.col_wrap, **beside)
        figure = drawn.figure if hasattr(drawn, "figure") else drawn[0].figure
        return _titled(figure, picture.title)

    def profile(self) -> Any:
        """Discharge along the river."""
        from xroute.plotting import plot_profile

        picture = self.picture
        assert self.rivers is not None
        first = next(iter(self.gauges), None) if self.gauges else None
        last = None if picture.to is None else _ids([picture.to], self.array, self.rivers)[0]
        return _titled(plot_profile(self.rivers, self.array, first, to=last, relative=picture.relative).figure, picture.title)

    def animation(self, output: Path, dpi: float) -> None:
        """A film, which writes itself."""
        from xroute.plotting import animate

        picture = self.picture
        assert self.rivers is not None
        rate = {} if picture.fps is None else {"fps": picture.fps}
        options: dict[str, Any] = {"gauges": self.gauges, "title": picture.title, **rate}
        animate(self.rivers, self.array, output, every=picture.every, dpi=dpi, **options)


def _titled(figure: Any, title: str | None) -> Any:
    if title is not None:
        figure.suptitle(title, x=0.02, ha="left", fontsize=13, weight="bold")
    return figure

