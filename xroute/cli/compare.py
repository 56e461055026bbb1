"""``xroute compare``: scores of simulated against observed discharge, in a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import READABLE, check_outputs, open_observed, protect, save
from xroute.settings import CLIMATOLOGY, EXTRA, Extra

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare"]


@click.command()
@click.argument("simulated", type=READABLE)
@click.argument("observed", type=READABLE)
@click.option("--benchmark", "benchmarks", multiple=True, metavar="[NAME=]FILE",
              help="Discharge of another simulation, to set beside it; may be given more than once.")
@click.option("--climatology", type=click.Choice(CLIMATOLOGY),
              help="Set the mean of the observations of each day of the year, or month, beside it; of a "
                   "period called train, if there is one, of that.")
@click.option("--unrouted", nargs=2, type=READABLE, metavar="RUNOFF NETWORK",
              help="Set runoff beside it that is summed over all reaches upstream, and not routed.")
@click.option("--period", "periods", multiple=True, metavar="NAME=FROM/TO",
              help="Score these times apart, such as test=2000/2009; may be given more than once.")
@click.option("--metrics", metavar="NAME,...", help="Scores to show, such as nse,kge; `--metrics all` shows all.")
@click.option("--rows", type=click.IntRange(min=1), default=20, show_default=True, help="Gauges to show at most.")
@click.option("--output", type=READABLE, help="Write the scores of all gauges: a .csv, .nc or .zarr.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--variable", metavar="NAME", help="Variable of SIMULATED, when there are several.")
@click.option("--observed-variable", metavar="NAME", help="Variable of OBSERVED, when there are several.")
@click.option("--observed-units", metavar="UNITS", help="Units of OBSERVED, where it does not say, such as ft3/s.")
@click.option("--time-dim", metavar="NAME", help="Dimension of the time, when names and labels do not tell.")
@click.option("--extra", type=click.Choice(EXTRA), default="raise", show_default=True,
              help="Gauges that SIMULATED does not have: an error, or dropped.")  # fmt: skip
def compare(simulated: Path, observed: Path, metrics: str | None, rows: int, **options: Any) -> None:
    """Score SIMULATED against OBSERVED discharge, gauge by gauge.

    SIMULATED is what `xroute route` wrote, or any file of discharge on reaches. OBSERVED is on the ids of reaches, or on gauges
    with a coordinate reach. Both are netCDF files, Zarr stores or tables (.csv, of a column a reach, or a value a row). Ids,
    times and units are matched by label; gaps count for no score; of daily OBSERVED and hourly SIMULATED, means are compared.
    """
    from xroute.scores import scores_text
    from xroute.scores.measures import named_measures
    from xroute.scores.table import scores
    from xroute.series import open_series

    output, overwrite = options["output"], options["overwrite"]
    files = [(name, Path(path)) for name, path in map(_named, options["benchmarks"])]
    inputs = [simulated, observed, *(path for _, path in files), *(options["unrouted"] or ())]
    _check_output(output, overwrite, inputs)
    names = None if metrics in (None, "all") else named_measures([n.strip() for n in str(metrics).split(",") if n.strip()])
    measured = open_observed(observed, options["observed_variable"], options["observed_units"])
    runs: dict[str, Any] = {name: open_series(path, option="variable") for name, path in files}
    periods = dict(map(_period, options["periods"])) or None
    if options["climatology"]:
        runs["climatology"] = _climatology(measured, options["climatology"], periods, options["time_dim"])
    if options["unrouted"]:
        runs["unrouted"] = _unrouted(options["unrouted"], measured, options["extra"])
    found = scores(
        open_series(simulated, options["variable"], option="variable"), measured, benchmarks=runs, periods=periods,
        metrics=names, dim=options["time_dim"], extra=options["extra"],
    ).compute()  # fmt: skip
    shown = list(map(str, found.data_vars)) if metrics is not None else None
    click.echo(scores_text(found, shown, most=rows))
    if output is not None and output.suffix.lower() == ".csv":
        found.to_dataframe().to_csv(output)
        click.echo(f"wrote {output}")
    elif output is not None:
        save([(found, output)], overwrite)


def _check_output(output: Path | None, overwrite: bool, inputs: list[Path]) -> None:
    if output is None:
        return
    if output.suffix.lower() != ".csv":
        check_outputs(output, overwrite=overwrite)
    elif output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; --overwrite replaces it")
    elif not output.absolute().parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} in")
    protect(inputs, [output])


def _named(text: str) -> tuple[str, str]:
    """Name and path of a benchmark; by default it is called as its file is."""
    name, separator, path = text.partition("=")
    return (name, path) if separator and name and path else (Path(text).stem, text)


def _period(text: str) -> tuple[str, slice]:
    name, _, span = text.partition("=")
    begin, slash, end = span.partition("/")
    if not (name and slash and (begin or end)):
        raise click.BadParameter(f"{text!r} is not NAME=FROM/TO, such as test=2000/2009", param_hint="--period")
    return name, slice(begin.strip() or None, end.strip() or None)


def _climatology(observed: xr.DataArray, by: Any, periods: Mapping[str, slice] | None, dim: str | None) -> xr.DataArray:
    """The climatology of a period called train, where there is one, and else of all."""
    from xroute.scores.benchmarks import climatology

    return climatology(observed, by, period=(periods or {}).get("train"), dim=dim)


def _unrouted(paths: tuple[Path, Path], observed: xr.DataArray, extra: Extra) -> xr.DataArray:
    """Summed runoff at the gauges, of the files of runoff and network."""
    from xroute.io.common import open_runoff
    from xroute.scores.benchmarks import unrouted

    return unrouted(open_runoff([paths[0]]), paths[1], at=observed, extra=extra)
