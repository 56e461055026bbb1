"""What `xroute demo` shows: storms over the tutorial basin, routed, told in a table, drawn and saved.

It uses nothing that a reader could not use: `xroute.datasets`, ``DataArray.route``, `xroute.plotting` and a writer.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import click
import numpy as np
import pandas as pd
import xarray as xr

import xroute
from xroute.datasets import tutorial
from xroute.io import write_discharge
from xroute.plotting import choose_gauges, overview
from xroute.volumes import storage

__all__ = ["gauge_table", "mass_balance", "run"]

HOUR = np.timedelta64(1, "h")


def run(output: str | PathLike[str] = "demo") -> None:
    """Route the tutorial basin, print a table and the mass balance, and save a picture and the discharge.

    Parameters
    ----------
    output
        Folder for ``discharge.png`` and ``discharge.nc``; made if it is not there, files in it are replaced.
    """
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    dataset, forcing = tutorial()
    network = xroute.Network(dataset)
    runoff = forcing["runoff"]
    before = xroute.steady_state(network, runoff.isel(time=0), dt="1h")  # the rivers run before the storms come
    discharge, after = runoff.route(network, initial_state=before, return_state=True)

    gauges = choose_gauges(network)
    area = float(dataset["area"].sum())
    size = f"{network.n_reaches:,} reaches drain {area:,.0f} km2 to one mouth"
    click.echo(f"{size}; two storms cross them in {runoff.sizes['time']} hours.\n")
    click.echo(gauge_table(network, runoff, discharge, gauges).to_string(index=False))
    click.echo("\n" + mass_balance(network, runoff, discharge, before, after))

    picture, file = folder / "discharge.png", folder / "discharge.nc"
    names = {gauge: f"{name} ({gauge})" for gauge, name in gauges.items()}
    figure = overview(network, discharge, names, runoff=runoff, title="Two storms cross the tutorial basin")
    figure.savefig(picture, dpi=150)
    write_discharge(discharge, file, network=network, overwrite=True)
    click.echo(f"\nSaved {picture} and {file}")


def gauge_table(
    network: xroute.Network, runoff: xr.DataArray, discharge: xr.DataArray, gauges: dict[object, str]
) -> pd.DataFrame:
    """Size, runoff and flood of each gauge; the lag is from the peak of runoff upstream to the peak of discharge."""
    area = network.dataset["area"]
    rows = []
    for gauge, name in gauges.items():
        upstream = network.upstream(gauge)
        mean = runoff.sel(reach=upstream).weighted(area.sel(reach=upstream)).mean("reach")
        flood = discharge.sel(reach=gauge)
        peak = flood.idxmax("time")
        rows.append(
            {
                "gauge": f"{name} ({gauge})",
                "area [km2]": f"{float(area.sel(reach=upstream).sum()):,.0f}",
                "runoff [mm]": f"{float(mean.sum()):.1f}",
                "peak [m3 s-1]": f"{float(flood.max()):,.0f}",
                "at": pd.Timestamp(peak.item()).strftime("%d %b %H:%M"),
                "lag [h]": f"{float((peak - mean.idxmax('time')) / HOUR):.0f}",
            }
        )
    return pd.DataFrame(rows)


def mass_balance(
    network: xroute.Network, runoff: xr.DataArray, discharge: xr.DataArray, before: xr.Dataset, after: xr.Dataset
) -> str:
    """One line: what fell in, what left, what the rivers hold more than before, and what is unaccounted for."""
    seconds = 3600.0
    runs_in = float((runoff.astype(float) * 1e-3 * network.dataset["area"] * 1e6).sum())
    runs_out = float(discharge.sel(reach=network.outlets).astype(float).sum()) * seconds
    stored = float((storage(network, after) - storage(network, before)).sum())
    share = (runs_in - runs_out - stored) / runs_in
    return (
        f"Mass balance [10^6 m3]: {runs_in / 1e6:,.1f} in = {runs_out / 1e6:,.1f} out + {stored / 1e6:,.1f} stored; "
        f"{abs(share):.0e} of it unaccounted for"
    )
