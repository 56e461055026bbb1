"""``xroute calibrate``: parameters of a network from discharge at gauges; files in, a network, scores and a picture out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xroute.cli.common import (
    FILES,
    PICTURES,
    READABLE,
    NetworkOptions,
    RunoffOptions,
    check_outputs,
    grouped,
    network_options,
    open_observed,
    overlap,
    protect,
    runoff_options,
    save,
    seconds,
)  # fmt: skip
from xroute.cli.forcing import forcing_options, open_forcing, open_known_at, open_rivers, routing_options
from xroute.cli.leftovers import Left, no_trace_of_errors
from xroute.cli.signals import LEFT
from xroute.settings import FORM, GROUPING, LABEL, LOSS, OPTIMIZER, STAGES

if TYPE_CHECKING:
    import xarray as xr

    from xroute.learning.result import Calibration

__all__ = ["calibrate"]

ROWS = 20
"""Gauges whose scores are printed; of more, those that gained most and least, and the median."""
TABLES = (".csv", ".nc", ".zarr")
ORDER = "RUNOFF, NETWORK, OBSERVED, OUTPUT"


@dataclass(frozen=True)
class ObservedOptions:
    """What the file of observations does not say of itself."""

    observed_variable: str | None
    observed_units: str | None
    observed_label: Any
    observed_step: str | None

    def open(self, path: Path) -> xr.DataArray:
        """Observations, not read yet where they need not be."""
        return open_observed(path, self.observed_variable, self.observed_units)


@dataclass(frozen=True)
class ResultOptions:
    """What is written beside the network, where the progress is kept, and what becomes of what is there already."""

    picture: Path | None
    scores: Path | None
    history: Path | None
    save_discharge: Path | None
    checkpoint: Path | None
    resume: bool
    overwrite: bool

    def check(self, output: Path) -> tuple[Path, list[Path]]:
        """Refuse what cannot be written, before any work is done; returns the file of the progress, and all outputs."""
        from xroute.exceptions import require

        kinds = {"picture": PICTURES, "scores": TABLES, "history": TABLES}
        for option, suffixes in kinds.items():
            path = getattr(self, option)
            if path is not None and path.suffix.lower() not in suffixes:
                raise click.UsageError(f"--{option} {path} ends in none of {', '.join(suffixes)}")
        if self.picture is not None:
            require("matplotlib", feature="--picture", extra="plot")
        progress = output.with_name(f"{output.stem}.calibration.npz") if self.checkpoint is None else self.checkpoint
        others = [path for path in (self.picture, self.scores, self.history, self.save_discharge) if path is not None]
        check_outputs(output, self.save_discharge, overwrite=self.overwrite)
        for path in (*others, progress):
            if not path.absolute().parent.is_dir():
                raise FileNotFoundError(f"no folder {path.parent} to write {path.name} in")
            if path in others and path.exists() and not self.overwrite:
                raise FileExistsError(f"{path} exists; --overwrite replaces it")
        written = [output, *others, progress]
        if any(overlap(a, b) for i, a in enumerate(written) for b in written[:i]):
            raise click.UsageError(f"two outputs have the same path, or one lies in the other: {', '.join(map(str, written))}")
        return progress, written


# ── options that are read ─────────────────────────────────────────────────────────────────────────────────────────────────


def _parameters(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...] | dict[str, Any]:
    """What is calibrated, of texts such as ``k,x`` and ``k=scale:strahler,x=all``."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise click.BadParameter("name what is to be calibrated, such as k,x")
    if not any("=" in entry for entry in entries):
        return tuple(entries)
    found: dict[str, Any] = {}
    for entry in entries:
        name, _equals, how = (part.strip() for part in entry.partition("="))
        form, colon, groups = how.partition(":")
        if colon and form not in FORM:
            raise click.BadParameter(f"{entry!r}: before a colon stands one of {', '.join(FORM)}")
        found[name] = (form, groups) if colon else how or True
    return found


def _periods(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> Any:
    """Slices of time, of texts such as ``1990/1999``; None of none."""
    found = []
    for text in texts:
        begin, slash, end = (part.strip() or None for part in text.partition("/"))
        if slash is None or (begin is None and end is None):
            raise click.BadParameter(f"{text!r} is not BEGIN/END, such as 1990/1999 or 2001-10-01/2005-09-30")
        found.append(slice(begin, end))
    return None if not found else found[0] if len(found) == 1 else found


def _no_groups(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    return None if text in (None, "none") else text


@click.command()
@click.argument("runoff", type=FILES, nargs=-1, required=True)
@click.argument("network", type=READABLE)
@click.argument("observed", type=READABLE)
@click.argument("output", type=READABLE)
@click.option("--parameters", default="k,x", show_default=True, callback=_parameters, metavar="NAMES",
              help="What is calibrated: names, or how: k=scale (a factor on the network's values), k=strahler (a value by "
                   "group), k=scale:basin (a factor by group).")  # fmt: skip
@click.option("--groups", callback=_no_groups, metavar="NAME",
              help=f"Reaches that share a value: {', '.join(GROUPING)}, or a variable of the network.  "
                   "[default: each reach has its own]")  # fmt: skip
@click.option("--loss", type=click.Choice(LOSS), default="nse", show_default=True, help="What is made small.")
@click.option("--train", multiple=True, callback=_periods, metavar="BEGIN/END",
              help="Times to train on, such as 1990/1999; may be given more than once.  [default: all]")  # fmt: skip
@click.option("--test", multiple=True, callback=_periods, metavar="BEGIN/END",
              help="Times to hold out and score apart.")  # fmt: skip
@click.option("--spinup", metavar="TIME", help="How long rivers are routed before observations count.  [default: 30D, or less]")
@click.option("--window", metavar="TIME", help="Length of the windows that the training period is cut into, such as 90D.")
@click.option("--carry", is_flag=True, help="Begin each window with the state of the one before, in place of a spin-up.")
@click.option("--epochs", type=click.IntRange(min=1), help="How often all windows are gone through, at most.")
@click.option("--optimizer", type=click.Choice(OPTIMIZER), help="By default lbfgs for groups, adam for values of each reach.")
@click.option("--learning-rate", type=float, metavar="RATE", help="First rate of adam.")
@click.option("--penalty", type=float, default=0.0, metavar="WEIGHT", help="Weight of the distance from the network's values.")
@click.option("--patience", type=click.IntRange(min=1), metavar="N",
              help="Stop when the test period has not got better for N epochs.")  # fmt: skip
@click.option("--stages", type=click.Choice(STAGES),
              help="Down the river in stages, from gauge to gauge; what flows in is held fixed as observed.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order of windows.")
@grouped(
    "gauges", ObservedOptions,
    click.option("--observed-variable", metavar="NAME", help="Variable or column of OBSERVED, when there are several."),
    click.option("--observed-units", metavar="UNITS", help="Units of OBSERVED, where it does not say, such as ft3/s."),
    click.option("--observed-label", type=click.Choice(LABEL),
                 help="What an observed time stamp is of its step, when the file does not tell.  [default: start]"),
    click.option("--observed-step", metavar="TIME", help="Length of an observed step, where gaps hide it, such as 1D."),
)  # fmt: skip
@grouped(
    "target", ResultOptions,
    click.option("--picture", type=READABLE, metavar="FILE", help="Draw it before and after here (.png, .pdf, .svg)."),
    click.option("--scores", type=READABLE, metavar="FILE", help="Write scores by gauge here (.csv, .nc or .zarr)."),
    click.option("--history", type=READABLE, metavar="FILE", help="Write loss and values by epoch here (.csv, .nc or .zarr)."),
    click.option("--save-discharge", type=READABLE, metavar="FILE",
                 help="Write discharge at the gauges here, observed, before and after (.nc or .zarr)."),
    click.option("--checkpoint", type=READABLE, metavar="FILE",
                 help="Keep the progress, and in the end the result, in this file, which xroute.learning.open_calibration "
                      "reads.  [default: beside OUTPUT, until it is written]"),
    click.option("--resume/--no-resume", default=True,
                 help="Go on with a calibration that was interrupted, or begin anew.  [default: go on]"),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
)  # fmt: skip
@runoff_options
@forcing_options
@network_options
@routing_options
@click.option("--progress/--no-progress", default=None, help="Progress bar with the loss; by default in a terminal.")
@click.pass_context
def calibrate(
    context: click.Context,
    runoff: tuple[str, ...],
    network: Path,
    observed: Path,
    output: Path,
    source: RunoffOptions,
    table: NetworkOptions,
    gauges: ObservedOptions,
    target: ResultOptions,
    deaccumulate: Any,
    progress: bool | None,
    **options: Any,
) -> None:
    """Calibrate NETWORK to discharge OBSERVED at gauges, and write it to OUTPUT.

    RUNOFF and NETWORK are those of `xroute route`. OBSERVED is a netCDF file or a Zarr store with discharge on reach and time (or
    on gauges, with a variable reach), or a table (.csv): a column time, and then one for each gauge under the id of its reach, or
    columns time, reach and discharge. Gaps are empty. Its steps may be longer than those of RUNOFF (days), and then means are
    compared. OUTPUT's suffix (.zarr or .nc) says what to write; `xroute route` takes it as NETWORK.
    A calibration that was interrupted goes on where it was by the same command.
    """
    from xroute.io.common import expand_paths
    from xroute.learning.calibration import calibrate as calibrate_network
    from xroute.recipe import step_of

    file, outputs = target.check(output)
    paths = expand_paths(list(runoff))
    read = (*paths, network, observed, *(options[name] for name in ("weights", "known")))
    protect([path for path in read if path is not None], outputs)
    step = seconds(source.dt)
    rivers = open_rivers(network, table, ORDER)
    array, _ = open_forcing(paths, source, rivers, deaccumulate, step, options, False)
    options["known"] = open_known_at(options["known"], options.pop("known_variable"))
    context.meta[LEFT] = Left(file, output)
    with no_trace_of_errors(file):
        result = calibrate_network(
            array, rivers, gauges.open(observed), **options, time_dim="time", dt=step_of(array, "time", rivers, step),
            observed_label=gauges.observed_label, observed_step=gauges.observed_step, checkpoint=file, resume=target.resume,
            progress=sys.stderr.isatty() if progress is None else progress,
        )  # fmt: skip
    _write(result, output, target)
    if target.checkpoint is None:
        file.unlink(missing_ok=True)
    click.echo(result.summary())
    click.echo(score_table(result.scores))
    _tell_undetermined(result)


# ── what is written and told ──────────────────────────────────────────────────────────────────────────────────────────────


def _write(result: Calibration, output: Path, target: ResultOptions) -> None:
    """Write the network and what else was asked for; tables and pictures after the Datasets."""
    tables: list[tuple[xr.Dataset, Path | None]] = [(result.scores, target.scores), (result.history, target.history)]
    whole = [(dataset, path) for dataset, path in tables if path is not None and path.suffix.lower() != ".csv"]
    save([(result.network.dataset, output), (result.discharge, target.save_discharge), *whole], target.overwrite)
    for dataset, path in tables:
        if path is not None and path.suffix.lower() == ".csv":
            _write_csv(dataset, path)
    if target.picture is not None:
        from matplotlib import use

        use("Agg")
        from matplotlib import pyplot

        from xroute.files.writing import replacing

        figure = result.plot()
        with replacing(target.picture, overwrite=True) as draft:
            figure.savefig(draft, dpi=150)
        pyplot.close(figure)
        click.echo(f"drew {target.picture}")


def _write_csv(dataset: xr.Dataset, path: Path) -> None:
    """Write a table: of scores a row by gauge, period and run; of a history a row by epoch."""
    from xroute.files.writing import replacing

    frame = history_table(dataset) if "epoch" in dataset.dims else dataset.to_dataframe().reset_index()
    with replacing(path, overwrite=True) as draft:
        frame.to_csv(draft, index=False)
    click.echo(f"wrote {path} ({len(frame):,} rows)")


def history_table(history: xr.Dataset) -> Any:
    """A history as a table of pandas: a row by epoch, a column for each group or quantile, and of gauges their median.

    Parameters
    ----------
    history
        Of a calibration.
    """
    import pandas as pd

    columns: dict[str, Any] = {str(n): c.values for n, c in history.coords.items() if c.dims == ("epoch",)}
    for name, values in history.data_vars.items():
        others = [d for d in values.dims if d != "epoch"]
        if "epoch" not in values.dims or len(others) > 1:
            continue
        if not others:
            columns[str(name)] = values.values
        elif str(name).endswith("nse"):
            columns[f"{name} median"] = values.median(others).values
        else:
            labels = values[others[0]].values if others[0] in values.coords else range(values.sizes[others[0]])
            columns |= {f"{name} {label}": values.isel({others[0]: k}).values for k, label in enumerate(labels)}
    return pd.DataFrame(columns)


def score_table(scores: xr.Dataset, rows: int = ROWS) -> str:
    """Scores before and after by gauge and period, as text: NSE and KGE, and their medians.

    Parameters
    ----------
    scores
        Of a calibration.
    rows
        Gauges that are shown; of more, those whose NSE gained most and least.
    """
    import numpy as np
    import pandas as pd

    dim = next(d for d in scores["nse"].dims if d not in ("period", "run"))
    labels = [str(label) for label in scores[dim].values.tolist()]
    columns: dict[tuple[str, str, str], Any] = {}
    periods = scores["period"].values.tolist()
    for period in periods:
        for score, name in (("nse", "NSE"), ("kge", "KGE")):
            runs = ("unrouted", "before", "calibrated") if score == "nse" else ("before", "calibrated")
            for run in runs if score in scores and (score == "nse" or len(periods) == 1) else ():
                columns[name, str(period), run] = scores[score].sel(period=period, run=run).transpose(dim).values
    table = pd.DataFrame(columns, index=pd.Index(labels, name=str(dim)))
    gain = (table["NSE", periods[-1], "calibrated"] - table["NSE", periods[-1], "before"]).to_numpy()
    shown = np.arange(len(table))
    if len(table) > rows:
        order = np.argsort(np.where(np.isfinite(gain), gain, np.inf), kind="stable")
        shown = np.sort(np.concatenate([order[: rows // 2], order[-(rows - rows // 2) :]]))
    median = table.median(skipna=True)
    body = table.iloc[shown]
    body = pd.concat([body, median.to_frame("median").T])
    return _as_text(body, str(dim), len(table) - len(shown))


def _as_text(table: Any, dim: str, n_left_out: int) -> str:
    """A table of scores with headings of three lines: score, period and run."""
    heads = [tuple(column) for column in table.columns]
    texts = [[f"{value:.3f}" if value == value else "-" for value in row] for row in table.to_numpy().tolist()]
    first = [dim, *map(str, table.index)]
    widths = [max(len(part) for part in (*head, *(row[k] for row in texts))) for k, head in enumerate(heads)]
    wide = max(map(len, first))

    def line(name: str, words: Sequence[str]) -> str:
        return "  ".join([name.ljust(wide), *(word.rjust(n) for word, n in zip(words, widths, strict=True))]).rstrip()

    lines = []
    for level in range(3):  # what is the same as in the column before is not said again, but for runs
        new = [level == 2 or k == 0 or heads[k - 1][: level + 1] != head[: level + 1] for k, head in enumerate(heads)]
        words = [head[level] if said else "" for head, said in zip(heads, new, strict=True)]
        lines.append(line(dim if level == 2 else "", words))
    lines += [line(name, row) for name, row in zip(first[1:], texts, strict=True)]
    if n_left_out:
        lines.insert(-1, f"... {n_left_out:,} more gauges, between these in what they gained")
    return "\n".join(lines)


def _tell_undetermined(result: Calibration) -> None:
    """Say which values the observations do not determine."""
    lost = result.undetermined()
    if not lost:
        return
    alone = all(one.partition(" in stage ")[0].endswith(" of all") for one in lost)
    groups = "" if alone else "fewer values (--groups), or "
    few = ", ".join(lost[:10]) + (f", ... ({len(lost)} in all)" if len(lost) > 10 else "")
    click.echo(
        f"not determined by these observations: {few}. Their values are one guess among many: {groups}"
        "--penalty 0.01 to stay near the network's own"
    )


