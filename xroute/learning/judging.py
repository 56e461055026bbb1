"""Judging a calibration: discharge at gauges of what was found, of what there was before and of unrouted runoff, and scores."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import torch
import xarray as xr

from xroute import losses
from xroute.exceptions import some, warn
from xroute.learning.problem import Problem
from xroute.network import Network
from xroute.scores import scores
from xroute.wording import argument, phrase

__all__ = ["MANY_GAUGES", "RUNS", "discharge_of", "scores_of", "tell_volumes", "tell_worse", "with_periods"]

MANY_GAUGES = 5000
"""Of more gauges than these there are the scores `nse` and `kge` alone, which take a hundredth of the time that all of them
take."""
RUNS = ("calibrated", "before", "unrouted")
"""What is judged."""
ALIKE = 1e-4
"""A median NSE that is less by no more than this is no worse."""
AT_A_TIME = 2e7
"""Values that are scored at a time, where there are many gauges."""
STRANGE = 5.0
"""How many times the volume of runoff observed discharge must have, or the other way round, for that to be told: no loss of
water on the way, nor errors of runoff, are usually so large, but wrong units are, and gauges on the wrong reach."""


def discharge_of(problem: Problem, network: Network) -> xr.Dataset:
    """Discharge at the gauges from the first to the last step of the periods: observed, and of each run."""
    observations = problem.observations
    periods = (*problem.train, *problem.test)
    span = slice(min(p.start for p in periods), max(p.stop for p in periods))
    part = observations.of_steps(span)
    ids = np.unique(observations.reach_ids)
    whole = problem.network is problem.whole
    found = {"observed": part.labelled()}
    for name, river in (("calibrated", network), ("before", problem.whole)):
        router = problem.router(None, river if whole else river.basin(ids), tells=name == "calibrated")
        (values,) = problem.simulate(router, (span,))
        found[name] = part.labelled(values.cpu().numpy(), name, long_name=f"river discharge, {name}")
    (values,) = problem.simulate(problem.unrouted(), (span,))
    found["unrouted"] = part.labelled(values.cpu().numpy(), "unrouted", long_name="runoff upstream, not routed")
    return xr.Dataset(found, attrs={"title": "Discharge at gauges"})


def with_periods(problem: Problem, discharge: xr.Dataset) -> xr.Dataset:
    """Discharge with a coordinate ``period`` along time: ``train``, ``test``, or nothing between them."""
    first = min(p.start for p in (*problem.train, *problem.test))
    names = np.full(discharge.sizes[problem.observations.time_dim], "", "<U5")
    for name, steps in (("train", problem.train), ("test", problem.test)):
        for part in steps:
            names[part.start - first : part.stop - first] = name
    return discharge.assign_coords(period=(problem.observations.time_dim, names))


def tell_volumes(problem: Problem, discharge: xr.Dataset) -> None:
    """Warn of gauges whose volume is not at all that of the runoff upstream: no parameter of a river changes volumes."""
    time_dim = problem.observations.time_dim
    observed, runoff = (discharge[name].transpose(..., time_dim).values for name in ("observed", "unrouted"))
    there = np.isfinite(observed) & np.isfinite(runoff)
    its, mine = (np.where(there, values, 0.0).sum(axis=-1) for values in (observed, runoff))
    wet = (its > 0) & (mine > 0)
    ratio = its[wet] / mine[wet]
    strange = (ratio > STRANGE) | (ratio < 1 / STRANGE)
    if not strange.any():
        return
    warn(
        f"observed discharge is {np.median(ratio[strange]):.3g} times the runoff upstream (median) at {int(strange.sum())} "
        f"gauges: {some(problem.observations.gauge[wet][strange])}. No parameter changes volumes: are its units right "
        "(1 m3 s-1 is 35.3 ft3 s-1), and those of runoff? Is it a mean of each step, not a sum? Are these gauges on "
        "the right reaches?"
    )


def scores_of(problem: Problem, discharge: xr.Dataset) -> xr.Dataset:
    """Scores by gauge, period and run: those of `xroute.scores`; see `MANY_GAUGES`."""
    observations = problem.observations
    first = min(p.start for p in (*problem.train, *problem.test))
    found = {}
    for period, steps in (("train", problem.train), ("test", problem.test)):
        if steps:
            at = np.unique(np.concatenate([np.arange(p.start, p.stop) for p in steps])) - first
            part = discharge.isel({observations.time_dim: at})
            if observations.n_gauges > MANY_GAUGES:
                found[period] = _quickly(problem, part)
                continue
            whole = scores({name: part[name] for name in RUNS}, part["observed"])
            found[period] = whole.assign_coords(run=("run", np.array(RUNS)))
    named = xr.Variable("period", list(found))
    return xr.concat(list(found.values()), named, combine_attrs="override", coords="minimal", compat="override")


def tell_worse(scores_by_run: xr.Dataset, dim: Hashable, shared: bool) -> None:
    """Warn where the network as it was is nearer to the gauges than what was found, in a period that was trained on or held out.

    Parameters
    ----------
    scores_by_run
        Of `scores_of`.
    dim
        Dimension of the gauges.
    shared
        Whether values that reaches share took the place of values of their own.
    """
    worse = []
    medians = scores_by_run["nse"].median([dim])
    for period in medians["period"].values.tolist():
        before, after = (float(medians.sel(period=period, run=run)) for run in ("before", "calibrated"))
        if after < before - ALIKE:
            worse.append(f"in {period} {after:.3f}, {before:.3f} before")
    if not worse:
        return
    fewer = f"fewer values ({argument('groups')}), a {argument('penalty', 0.01)}, or more observations may help"
    factor = phrase("factors of groups", '{"k": "scale"} in parameters= learns a factor on those')
    keep = f"values that reaches share took the place of values of their own: {factor}" if shared else fewer
    warn(
        f"the network as it was fits the gauges better than what was found (median NSE {'; '.join(worse)}): "
        + (keep if any(w.startswith("in train") for w in worse) else fewer)
    )


def _quickly(problem: Problem, discharge: xr.Dataset) -> xr.Dataset:
    """Two scores of very many gauges, computed where the river is."""
    dim, time_dim = problem.observations.dim, problem.observations.time_dim
    series = {name: discharge[name].transpose(dim, time_dim).values for name in ("observed", *RUNS)}
    n_gauges, n_steps = series["observed"].shape
    names = {"nse": ("Nash-Sutcliffe efficiency", losses.nse), "kge": ("Kling-Gupta efficiency (2009)", losses.kge)}
    found = {name: np.full((len(RUNS), n_gauges), np.nan) for name in names}
    count = np.isfinite(series["observed"]).sum(axis=1)
    each = max(1, int(AT_A_TIME // n_steps))
    for begin in range(0, n_gauges, each):
        some = slice(begin, begin + each)
        observed = torch.from_numpy(series["observed"][some]).to(problem.device)
        for k, run in enumerate(RUNS):
            simulated = torch.from_numpy(series[run][some]).to(problem.device, observed.dtype)
            for name, (_, loss) in names.items():
                found[name][k, some] = 1 - loss(simulated, observed, undefined=torch.nan).cpu().numpy()
    coords = discharge["observed"].isel({time_dim: 0}, drop=True).coords
    data = {n: (("run", dim), v, {"long_name": names[n][0], "units": "1"}) for n, v in found.items()}
    data["n"] = ((dim,), count, {"long_name": "observations"})  # type: ignore[assignment]
    return xr.Dataset(data, coords).assign_coords(run=("run", np.array(RUNS)))
