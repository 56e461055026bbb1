"""Training in stages: sub-basin after sub-basin down the river, with what flows in from above held fixed.

A stage has gauges none of which is upstream of another. What it trains on is between them and the gauges above, whose discharge
is given: as it was observed, and, in gaps, as what was trained so far simulates it. So an error upstream does not make
parameters downstream wrong, and each reach is routed in one stage only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.engine.plan import make_plan, mark_upstream
from xroute.exceptions import ParameterError, some, warn
from xroute.files.writing import remove_drafts
from xroute.learning.objective import Objective
from xroute.learning.problem import Problem
from xroute.learning.simulation import Gauged
from xroute.learning.training import Fit
from xroute.network import Network
from xroute.router import Router

__all__ = [
    "Stage",
    "Staged",
    "file_of_stage",
    "join_fits",
    "loss_of",
    "plain_text",
    "remove_files",
    "run_stages",
    "stages_of",
]

Tensor = torch.Tensor
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stage:
    """A step down the river.

    Attributes
    ----------
    gauges : int64 [gauge of the stage]
        Which of the problem's gauges.
    reaches : int64 [reach of the stage]
        Positions in the problem's network of what is routed, reaches of the gauges above included.
    given : int64 [gauged reach above]
        Positions of those, whose discharge is given.
    """

    gauges: Index
    reaches: Index
    given: Index

    @property
    def own(self) -> Index:
        """Positions of the reaches that are trained here."""
        return np.setdiff1d(self.reaches, self.given)


@dataclass(frozen=True, eq=False)
class Staged:
    """What one stage is trained on: a problem of its own, and where its reaches are in the problem that it is a part of."""

    number: int
    """Of the stage, from 1 on."""
    stage: Stage
    problem: Problem


def stages_of(network: Network, reach: Index) -> list[Stage]:
    """Stages of gauges on reaches of these positions [gauge], from the headwaters down.

    Examples
    --------
    >>> import numpy as np, xroute
    >>> network = xroute.Network.from_links([1, 2, 3, 4, 5], [3, 3, 4, 5, 0])
    >>> [(s.gauges.tolist(), s.own.tolist(), s.given.tolist()) for s in stages_of(network, np.array([4, 0, 2]))]
    [([1], [0], []), ([2], [1, 2], [0]), ([0], [3, 4], [2])]
    """
    n, (up, down, fraction) = network.n_reaches, network.links
    gauged = np.zeros(n, bool)
    gauged[reach] = True
    rank = _ranks(network, gauged)
    stages = []
    for level in range(int(rank[reach].max(initial=-1)) + 1):
        above = gauged & (rank < level)
        wanted = np.zeros(n, bool)
        wanted[reach[rank[reach] == level]] = True
        kept = ~above[down]  # what flows into a gauge above is not looked at
        plan = make_plan(up[kept], down[kept], fraction[kept], n)
        mark_upstream(plan.order, plan.upstream_pointer, plan.upstream_reach, wanted)
        stages.append(
            Stage(np.flatnonzero(rank[reach] == level), np.flatnonzero(wanted), np.flatnonzero(wanted & above))
        )
    return stages


def _ranks(network: Network, gauged: NDArray[np.bool_]) -> Index:
    """Of each reach, most gauges one above the other upstream of it, itself not counted: int64 [reach]."""
    plan = network.plan
    rank, counts = [0] * network.n_reaches, gauged.astype(int).tolist()
    pointer, upstream = plan.upstream_pointer.tolist(), plan.upstream_reach.tolist()
    for i in plan.order.tolist():
        for j in upstream[pointer[i] : pointer[i + 1]]:
            rank[i] = max(rank[i], rank[j] + counts[j])
    return np.array(rank, np.int64)


# ── a stage as a problem ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Part:
    """Runoff of some of a source's reaches."""

    keeps = False  # a block is chosen anew for each window, which a recorded step would not do

    def __init__(self, source: Any, reaches: Index) -> None:
        self.source, self.steps, self.dtype, self.device = source, source.steps, source.dtype, source.device
        self.row = source.row[reaches]
        self._at = torch.from_numpy(reaches).to(source.device)
        self._last: tuple[tuple[int, int], Tensor] | None = None

    def block(self, begin: int, stop: int) -> Tensor:
        """Runoff [1, reach, time] of some steps."""
        if self._last is None or self._last[0] != (begin, stop):
            self._last = (begin, stop), self.source.block(begin, stop).index_select(1, self._at)
        return self._last[1]


class _Given:
    """Discharge that is given on some reaches, beside what the caller knows."""

    def __init__(self, known: Any, position: Index, given: Index, values: Tensor, begin: int) -> None:
        others = position[known.reach]
        self._rows = np.flatnonzero((others >= 0) & ~np.isin(others, given))
        self._known, self._values, self._begin = known, values, begin
        self.reach = np.concatenate([given, others[self._rows]])
        """Positions of the reaches in the stage."""

    def block(self, begin: int, stop: int) -> Tensor | None:
        """Known discharge [1, known, time] of some steps."""
        if not self.reach.size:
            return None
        block = self._values[:, begin - self._begin : stop - self._begin][None]
        if not self._rows.size:
            return block
        others: Tensor = self._known.block(begin, stop)[:, self._rows].to(block)
        return torch.cat([block, others.expand(1, -1, -1)], dim=1)


def _stage_problem(problem: Problem, stage: Stage, series: dict[int, Tensor]) -> Problem:
    """The stage's own problem, with these series at gauges above, by position in the problem's network."""
    network = problem.network._take(stage.reaches)  # links that leave it are cut
    position = np.full(problem.network.n_reaches, -1)
    position[stage.reaches] = np.arange(stage.reaches.size)
    steps = problem.source.steps
    empty = torch.empty(0, steps.stop - steps.start, dtype=torch.float64, device=problem.device)
    values = torch.stack([series[i] for i in stage.given.tolist()]) if stage.given.size else empty
    observations = problem.observations.of_gauges(stage.gauges).on(network)
    return replace(
        problem, network=network, reaches=problem.reaches[stage.reaches], observations=observations,
        gauge_weights=problem.gauge_weights[stage.gauges],
        source=_Part(problem.source, stage.reaches),  # type: ignore[arg-type]
        known=_Given(problem.known, position, position[stage.given], values, steps.start),  # type: ignore[arg-type]
        gauged=Gauged(observations.reach, network.n_reaches, problem.device),
    )  # fmt: skip


def _series(problem: Problem, router: Router, parameters: Any) -> Tensor:
    """Discharge at the gauges in all steps of runoff that are of use, as it was observed and else as simulated [gauge, step]."""
    steps, longest = problem.source.steps, max(w.stop - w.begin for w in problem.windows)
    found, state = [], None
    with torch.no_grad():
        values = None if parameters is None else parameters()
        for begin in range(steps.start, steps.stop, longest):
            stop = min(begin + longest, steps.stop)
            discharge, state = problem.route(router, begin, stop, values, state, return_state=True)
            found.append(problem.gauged(discharge)[0].to(torch.float64))
    return _with_observed(problem, torch.cat(found, dim=1))


def _with_observed(problem: Problem, simulated: Tensor) -> Tensor:
    """Simulated discharge [gauge, step], but as it was observed where it was.

    Where a step of observation is of several of runoff, these are simulated, and scaled so that their mean is what was observed.
    """
    observations, begin = problem.observations, problem.source.steps.start
    offset, every = observations.first - begin, observations.every
    first = max(0, math.ceil(-offset / every))  # those before what is routed are of no use
    n = min(observations.n_steps, (simulated.shape[1] - offset) // every) - first
    if n <= 0:
        return simulated
    at = slice(offset + first * every, offset + (first + n) * every)
    observed = torch.from_numpy(_by_reach(problem)[:, first : first + n]).to(simulated)[..., None]
    parts = simulated[:, at].reshape(simulated.shape[0], n, every)
    mean = parts.mean(dim=-1, keepdim=True)
    flows = mean > 0
    scaled = torch.where(flows, parts * (observed / torch.where(flows, mean, 1.0)), observed.expand_as(parts))
    if every == 1:
        scaled = observed
    result = simulated.clone()
    result[:, at] = torch.where(observed.isnan(), parts, scaled).reshape(simulated.shape[0], -1)
    return result


def _by_reach(problem: Problem) -> NDArray[np.float64]:
    """Observations [gauge, step], of gauges on one reach their mean."""
    reach, values = problem.observations.reach, np.array(problem.observations.values)
    for several in np.flatnonzero(np.bincount(reach, minlength=1) > 1):
        at = np.flatnonzero(reach == several)
        there = np.isfinite(values[at])
        total, n = np.where(there, values[at], 0.0).sum(axis=0), there.sum(axis=0)
        values[at] = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return values


# ── one after another ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run_stages(
    problem: Problem, train_stage: Callable[[Staged], tuple[Fit, Router, Any] | None]
) -> Iterator[tuple[Staged, Fit]]:
    """Train the stages of a problem, from the headwaters down.

    Parameters
    ----------
    problem
        All of it.
    train_stage
        Trains a stage: gives how that went, a Router of the stage's network, and what gives it parameters (None for its own);
        None where nothing is to be learned in it.

    Yields
    ------
    staged, fit
    """
    series: dict[int, Tensor] = {}
    for number, stage in enumerate(stages_of(problem.network, problem.observations.reach), 1):
        part = Staged(number, stage, _stage_problem(problem, stage, series))
        trained = None
        if not (part.problem.gauge_weights > 0).any():
            warn(
                f"stage {number} is not trained, because its gauges have no observations in the training period that count: "
                f"{some(part.problem.observations.gauge)}"
            )
        else:
            trained = train_stage(part)
        if trained is None:
            router, parameters = part.problem.router(), None
        else:
            fit, router, parameters = trained
            yield part, fit
        found = _series(part.problem, router, parameters)
        series |= dict(zip(problem.observations.reach[stage.gauges].tolist(), found, strict=True))


def join_fits(fits: Mapping[int, Fit], before: float, after: float, progress: Any = None) -> Fit:
    """One account of stages, by their numbers: histories one after another, by ``stage``; ``progress`` is what a file keeps.

    Raises
    ------
    ParameterError
        If there are none.
    """
    if not fits:
        raise ParameterError("there is no stage with both observations that count and parameters that are to be learned")
    histories = [
        fit.history.assign_coords(stage=("epoch", np.full(fit.history.sizes["epoch"], number)))
        for number, fit in fits.items()
    ]
    history = xr.concat(histories, "epoch", data_vars="all", coords="minimal", compat="override", join="outer")
    history = plain_text(history.assign_coords(epoch=np.arange(history.sizes["epoch"])))
    reason = f"{len(fits)} stage{'s' * (len(fits) > 1)}: " + "; ".join(dict.fromkeys(fit.reason for fit in fits.values()))
    return Fit(history, sum(fit.epochs for fit in fits.values()), reason, before, after, progress or {})


def plain_text(dataset: xr.Dataset) -> xr.Dataset:
    """A Dataset whose text is of fixed width again, after pandas has joined indexes of it."""
    text = {n: v.astype(str) for n, v in dataset.variables.items() if v.dtype.kind == "T" or _is_text(v)}
    return dataset.assign_coords({n: v for n, v in text.items() if n in dataset.coords}).assign(
        {n: v for n, v in text.items() if n not in dataset.coords}
    )


def _is_text(variable: xr.Variable) -> bool:
    return variable.dtype.kind == "O" and all(isinstance(v, str) for v in variable.values.ravel())


def file_of_stage(path: str | os.PathLike[str] | None, number: int) -> Path | None:
    """File in which a stage keeps its progress, beside the one that the caller named, until all are done."""
    if path is None:
        return None
    whole = Path(path)
    return whole.with_name(f"{whole.stem}.stage-{number}{whole.suffix}")


def remove_files(path: str | os.PathLike[str], n_stages: int) -> None:
    """Remove the files of the stages, once the whole is written."""
    for number in range(1, n_stages + 1):
        file = file_of_stage(path, number)
        assert file is not None
        file.unlink(missing_ok=True)
        remove_drafts(file)


def loss_of(problem: Problem, router: Router, parameters: Any = None) -> float:
    """Loss in the training period of a river as it is now."""
    objective = Objective(problem, problem.train)
    with torch.no_grad():
        values = None if parameters is None else parameters()
        return float(objective.of_all(problem.simulate(router, objective.periods, values)).loss)
