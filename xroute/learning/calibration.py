"""`calibrate`: parameters of a network that fit discharge at gauges; start reading here.

1. `xroute.learning.problem.make_problem` matches runoff, network and observations, and cuts out what is upstream of gauges.
2. `xroute.learning.learnable` says what is learned, by reach or by group, and what is paid for leaving priors.
3. `xroute.learning.training.train` is the loop.
4. `finish` routes with what was found, with what there was before, and without routing, and scores them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import some, warn
from xroute.identity import digest
from xroute.learning.curvature import curvature_of
from xroute.learning.judging import discharge_of, scores_of, tell_volumes, tell_worse, with_periods
from xroute.learning.learnable import (
    before_of,
    learnable_of,
    learned_upstream,
    network_of,
    penalty_of,
    prior_network,
    prior_of,
    upstream_of_gauges,
)
from xroute.learning.problem import Problem, make_problem
from xroute.learning.progress_file import ProgressFile
from xroute.learning.request import CalibrationRequest, ObservedLike, options_of
from xroute.learning.result import Calibration
from xroute.learning.stages import Staged, file_of_stage, join_fits, loss_of, plain_text, remove_files, run_stages
from xroute.learning.training import Fit, train
from xroute.network import Network
from xroute.reach_values import CALIBRATED
from xroute.request import NetworkLike
from xroute.router import Router
from xroute.stamps import show
from xroute.wording import argument

__all__ = ["calibrate", "finish", "identity_of"]


@options_of(CalibrationRequest)
def calibrate(
    runoff: xr.DataArray, network: NetworkLike, observed: ObservedLike, request: CalibrationRequest
) -> Calibration:
    """Calibrate a network's parameters to discharge at gauges.

    Parameters
    ----------
    runoff : (reach, time)
        Runoff into each reach, as `xroute.route` takes it; of one series.
    network
        The network, whose parameters are where the search begins.
    observed : (gauge, time) or (reach, time)
        Discharge at gauges: on ids of reaches, or on gauges with a coordinate ``reach``; NaN in gaps. Its steps are the
        runoff's or multiples of them (daily gauges, hourly runoff: means are compared). In any units of discharge. A
        DataArray, a Dataset with one discharge, a table of pandas, or the path of a file. Only what is upstream of a gauge is
        routed.
    parameters
        What is calibrated: names such as ``("k", "x")``; or by name how: ``"value"``, ``"scale"`` (a factor on the network's own
        values, or on those of ``priors``), groups (``None`` for none), or both, ``{"k": ("scale", "strahler"), "x": "all"}``;
        ``True`` for a value by ``groups``, ``False`` to leave it as it is.
    groups
        Reaches that share a value: ``None``, each has its own; ``"all"``, ``"strahler"``, ``"basin"``, ``"gauge"`` (the
        sub-basin of the next gauge downstream), a variable of the network, labels on ``reach``; see `xroute.reach_groups`. A
        group's value starts at the mean of its reaches.
    loss
        ``"nse"``, ``"kge"``, ``"rmse"`` (in parts of each gauge's standard deviation), ``"log"`` (NSE of logarithms), or a
        function of simulated and observed discharge, tensors [gauge, step] with NaN in gaps, which gives a tensor [gauge] or
        one number, lower being better; see `xroute.losses`.
    gauge_weights
        What each gauge counts, by label or in order; alike by default.
    priors, penalty
        What parameters are expected to be, by name: a number, values on ``reach``, or a variable of the network, without units
        in those of the network's own values; by default what the network has. ``penalty`` times the mean squared distance
        from them, in logarithms (between two bounds, logits), is added to the loss.
    train, test
        Times to train on, and to hold out, ``slice("1990", "1999")``, or several such slices; by default all, and none. With
        ``test`` alone, the rest is trained on.
    spinup
        How long rivers are routed before observations count, such as ``"30D"``; the default is that, or a tenth of the runoff's
        time if this is shorter. Where runoff does not begin so much earlier, the first observations do not count.
    window
        Length of the windows that the training period is cut into, such as ``"90D"``, each with a spin-up of its own; then
        Adam takes a step a window, and memory is a window's. By default it is one, or as many as memory needs.
    carry
        Begin each window with the state that the one before it ended with, in place of a spin-up.
    epochs, optimizer, learning_rate
        Number of epochs, what searches, and its rate [1]. ``"lbfgs"``, by default for up to a hundred values, goes on until
        it has converged (at most 200 epochs); ``"adam"`` takes 200 epochs, at rates that begin at 0.1 and end at none.
    patience
        Stop when the loss in the test period has not got better for so many epochs, and keep what was best there.
    seed
        Of the order of windows. The same seed gives the same bits on the same machine.
    device
        As of `xroute.route`.
    progress
        Whether to show the loss as it goes.
    checkpoint, resume
        Path of a file in which the progress is kept: killed at any moment, the same call goes on from there, and ends with the
        same bits; when all is done, it gives the result (with more ``epochs``, it goes on, but not in stages). ``resume=False``
        begins anew.
    stages
        ``"gauge"``: down the river in stages. First the sub-basins of the uppermost gauges, then those between them and the next
        gauges below, and so on; what flows in from above is held fixed, as it was observed, and in gaps as simulated with what
        was found so far. Each reach is calibrated in one stage, and groups share values within a stage. Until all
        are done, a checkpoint has one file more for each stage.
    scheme, substeps, sampling, lateral, hillslope, weights, known, missing, extra, nan, dt, label, reach_dim, time_dim
        As of `xroute.route`. ``extra="drop"`` leaves out gauges that are not in the network, too.
    observed_label, observed_step
        Which point of its step an observed stamp is, and how long that step is, where the observations do not tell.

    Returns
    -------
    Calibration
        ``network``, ``history``, ``scores``, ``curvature``, ``discharge``; see `xroute.learning.Calibration`.

    Raises
    ------
    XRouteError
        As `xroute.route`; for gauges outside of the network, no time in common, observations that do not vary, wrong units,
        steps that do not fit, dimensions that are too many (see `xroute.learning.observed.match_observed`), groups and
        parameters that there are not, and files of another calibration.

    Warns
    -----
    UserWarning
        For fewer observations than values to be found; where nothing better was found, or the network as it was is better in
        train or test; and of gauges that say nothing, that are on reaches whose discharge is known, and that have a several
        times larger or smaller volume than runoff has.

    Examples
    --------
    >>> import numpy as np, xroute
    >>> network = xroute.datasets.scheidegger(4, 3)
    >>> runoff = xroute.datasets.storm_runoff(network, 240, dtype=float)
    >>> gauges = runoff.route(network).isel(reach=[9, 10, 11])
    >>> wrong = xroute.Network(network).assign(k=1.5 * network.k)
    >>> result = xroute.calibrate(runoff, wrong, gauges, parameters={"k": ("scale", "all")}, progress=False)
    >>> print(f"{float(result.history.k[-1, 0]):.3f}")
    0.667
    """
    with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
        return _calibrate(make_problem(runoff, network, observed, request), request)


def _calibrate(problem: Problem, request: CalibrationRequest) -> Calibration:
    found: _Found | None = _in_stages(problem, request) if request.stages else _learn(problem, request)
    if found is None:
        assert request.checkpoint is not None
        remove_files(request.checkpoint, problem.observations.n_gauges)  # of a run that was killed before it did so
        return Calibration.load(request.checkpoint)
    result = finish(
        problem, found.fit, found.network, calibrated=found.calibrated, curvature=found.curvature, identity=found.identity,
        before=found.before, what=found.what, shared=found.shared,
    )  # fmt: skip
    if request.checkpoint is not None:
        result.save(request.checkpoint)
        if request.stages:
            remove_files(request.checkpoint, problem.observations.n_gauges)
    return result


class _Found(NamedTuple):
    """What was learned: how that went, the whole network with it and where, how sure that is, and how parameters were."""

    fit: Fit
    network: Network
    calibrated: NDArray[np.bool_]
    curvature: xr.Dataset
    identity: dict[str, str]
    what: str
    router: Router
    before: xr.Dataset
    shared: bool


def _learn(problem: Problem, request: CalibrationRequest) -> _Found:
    learnable = learnable_of(request, problem.whole, problem.observations.reach_ids)
    prior = prior_network(request, problem.whole, learnable)
    learnable = upstream_of_gauges(problem, learnable)
    scaled = {name for name, how in learnable.items() if how.form == "scale"}
    factors_on = {n: v for n, v in (request.priors or {}).items() if n in scaled}
    base = prior_network(replace(request, priors=factors_on), problem.whole, learnable) if factors_on else problem.whole
    part = base if problem.network is problem.whole else base._take(problem.reaches)
    router = problem.router(learnable, part)
    _tell_few(problem, sum(p.numel() for p in router.parameters()))
    identity = identity_of(problem, request, learnable, base)
    file = None if request.checkpoint is None else ProgressFile(request.checkpoint, identity, resume=request.resume)
    fit = train(problem, router, None, router, penalty_of(problem, router, learnable, prior), request, file)
    made, calibrated = network_of(problem, router, learnable, base)
    curvature, what = curvature_of(problem, router, learnable), _in_words(request, learnable)
    shared = any(how.groups is not None and how.form == "value" for how in learnable.values())
    return _Found(fit, made, calibrated, curvature, identity, what, router, before_of(problem, learnable), shared)


def _in_stages(problem: Problem, request: CalibrationRequest) -> _Found | None:
    """Stage after stage down the river, each on the network that those before it have made; None if the file has the result."""
    learnable = learnable_of(request, problem.whole, problem.observations.reach_ids)
    learnable = upstream_of_gauges(problem, learnable)
    identity = identity_of(problem, request, learnable, problem.whole)
    if request.checkpoint is not None and ProgressFile(request.checkpoint, identity, resume=request.resume).read() is not None:
        return None
    found: dict[int, _Found] = {}
    network, calibrated = problem.whole, np.zeros(problem.whole.n_reaches, bool)

    def train_stage(part: Staged) -> tuple[Fit, Router, None] | None:
        nonlocal network
        if not learned_upstream(part.problem, learnable):
            warn(f"stage {part.number} is not trained: its reaches have none of the parameters {some(learnable)}")
            return None
        own = replace(part.problem, whole=network, network=network._take(part.problem.reaches))
        one = _learn(own, replace(request, checkpoint=file_of_stage(request.checkpoint, part.number)))
        mine = np.zeros(network.n_reaches, bool)
        mine[problem.reaches[part.stage.own]] = True
        calibrated[mine & one.calibrated] = True
        network = _merged(network, one.network, mine, {name for _, name in one.router.learned_parameters})
        found[part.number] = one
        return one.fit, one.router, None

    before = loss_of(problem, problem.router())
    fits = {part.number: fit for part, fit in run_stages(problem, train_stage)}
    router = problem.router(None, network._take(problem.reaches))
    fit = join_fits(fits, before, loss_of(problem, router))
    names = dict.fromkeys(name for one in found.values() for name in one.before)
    was = problem.whole.dataset[list(names)].drop_attrs(deep=False)
    curvature, what = _of_stages({n: one.curvature for n, one in found.items()}), f"{_in_words(request, learnable)}, in stages"
    shared = any(one.shared for one in found.values())
    return _Found(fit, network, calibrated, curvature, identity, what, router, was, shared)


def _of_stages(curvature: Mapping[int, xr.Dataset]) -> xr.Dataset:
    """Curvature of all stages, by ``stage``; groups that a stage does not see are told of if none does."""
    stage = xr.Variable("stage", list(curvature))
    joined = xr.concat(
        list(curvature.values()), stage, join="outer", fill_value={"determined": False, "n_reaches": 0},
        coords="minimal", compat="override", combine_attrs="override",
    )  # fmt: skip
    found = plain_text(joined)
    if "value" not in found:
        return found
    elsewhere = found["value"].isnull() & (found["value"].notnull().any("stage") | (found["stage"] < stage[-1]))
    return found.assign(n_reaches=found["n_reaches"].where(~elsewhere, 0))


def _merged(network: Network, made: Network, mine: NDArray[np.bool_], names: Iterable[str]) -> Network:
    """A network with another's parameters on some reaches."""
    taken = {name: made[name] for name in names if name in made}
    for name in taken.keys() & set(network.dataset.data_vars):
        taken[name] = made[name].copy(data=np.where(mine, made[name].values, network[name].values))
    return network.assign(taken)


def finish(
    problem: Problem,
    fit: Fit,
    network: Network,
    *,
    calibrated: NDArray[np.bool_],
    before: xr.Dataset,
    identity: dict[str, str],
    what: str,
    curvature: xr.Dataset | None = None,
    shared: bool = False,
) -> Calibration:
    """The result of a training: the network marked, discharge at gauges of all runs, and scores.

    Parameters
    ----------
    problem, fit
        What was fitted to what, and how that went.
    network
        The whole network with what was found.
    calibrated : [reach]
        Where it has new values.
    before
        Parameters that are calibrated, as they were.
    identity
        What another run must share to go on from its file.
    what
        What was calibrated, in words.
    curvature
        How well values are determined, if that was looked at.
    shared
        Whether values that reaches share took the place of values of their own.
    """
    marked = _marked(problem, fit, network, calibrated, what)
    discharge = discharge_of(problem, network)
    tell_volumes(problem, discharge)
    scored = scores_of(problem, discharge)
    tell_worse(scored, problem.observations.dim, shared)
    return Calibration(
        marked, fit.history, scored, xr.Dataset() if curvature is None else curvature,
        with_periods(problem, discharge), before, fit.epochs, fit.reason, identity, fit.progress,
    )  # fmt: skip


# ── before the loop ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _tell_few(problem: Problem, n_values: int) -> None:
    n = sum(int(np.isfinite(problem.observations.values[problem.gauge_weights > 0][:, p]).sum()) for p in problem.train)
    if n < n_values:
        warn(
            f"{n:,} observations are to determine {n_values:,} values: many sets of these will fit as well as the one that is "
            f"found. "
            f"Let reaches share values ({argument('groups')}), or hold on to what is known of them ({argument('penalty')})"
        )


def identity_of(problem: Problem, request: CalibrationRequest, learnable: Any, base: Network) -> dict[str, str]:
    """What another run must share to go on with this one's file, by what it is: hashes and text."""
    observations, run = problem.observations, problem.run
    # sums of all bits: a hash of so many values would take seconds
    bits = np.ascontiguousarray(observations.values).view(np.uint64)
    observed = bits.sum(axis=0), bits.sum(axis=1), observations.reach_ids, observations.first, observations.every
    filters = run.filter.arrays()
    slopes = () if run.slopes is None else run.slopes.arrays()
    groups = [
        (n, h.form, None if h.groups is None else (h.groups.of_reach, h.groups.labels.tolist()))
        for n, h in learnable.items()
    ]
    parameters = [(n, base.dataset[n].values) for n in learnable if n in base]
    priors = [(n, prior_of(n, v, problem.whole)) for n, v in sorted((request.priors or {}).items())]
    loss = (
        request.loss
        if isinstance(request.loss, str)
        else getattr(request.loss, "__qualname__", type(request.loss).__name__)
    )
    return {
        "network": digest(problem.whole.ids, *problem.whole.links),
        "parameters of the network": digest(*filters, *slopes, parameters),
        "runoff": digest(*_bits_of_runoff(problem), str(problem.source.dtype), run.clock.step),
        "sampling": run.settings.sampling,
        "lateral": run.settings.lateral,
        "observations": digest(*observed),
        "choice of what is learned": digest(groups),
        "loss": str(loss),
        "weights of the gauges": digest(problem.gauge_weights),
        "periods": str([(p.start, p.stop) for p in (*problem.train, slice(-1, -1), *problem.test)]),
        "windows": digest([(w.begin, w.stop, w.carries) for w in problem.windows]),
        "penalty": f"{request.penalty:g}",
        "priors": digest([(n, v.values, v.attrs.get("units")) for n, v in priors]),
        "stages": str(request.stages),
        # stages that were left behind cannot take more epochs
        "epochs of each stage": str(request.epochs) if request.stages else "any",
        "optimizer": str(request.optimizer),
        "learning_rate": str(request.learning_rate),
        "patience": str(request.patience),
        "seed": str(request.seed),
        "device": problem.device.type,
        "known discharge": "none" if run.known is None else run.known.identity,
    }


def _bits_of_runoff(problem: Problem) -> tuple[Any, ...]:
    """Sums of the bits of all runoff that is of use, by reach and by step, and which steps that is; read in stretches."""
    steps, longest = problem.source.steps, max(w.stop - w.begin for w in problem.windows)
    by_reach, by_step = torch.zeros(problem.network.n_reaches, dtype=torch.int64, device=problem.device), []
    for begin in range(steps.start, steps.stop, longest):
        block = problem.runoff_block(begin, min(begin + longest, steps.stop))[0]
        bits = block.view(torch.int64 if block.dtype == torch.float64 else torch.int32)
        by_reach += bits.sum(dim=1)  # of whole numbers: in whatever order, the same
        by_step.append(bits.sum(dim=0))
    return by_reach.cpu().numpy(), torch.cat(by_step).cpu().numpy(), steps.start, steps.stop


def _in_words(request: CalibrationRequest, learnable: Any) -> str:
    named = []
    for name, how in learnable.items():
        by = "by reach" if how.groups is None else f"by {how.groups.name}"
        named.append(f"{name} ({'factor ' if how.form == 'scale' else ''}{by})")
    return ", ".join(named)


# ── after it ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _marked(problem: Problem, fit: Fit, network: Network, calibrated: NDArray[np.bool_], what: str) -> Network:
    """The network with a note of what was done, and where."""
    observations, loss = problem.observations, problem.request.loss
    times = observations.times[problem.train[0].start], observations.times[problem.train[-1].stop - 1]
    name = loss if isinstance(loss, str) else "loss of the caller"
    text = (
        f"{what} to {observations.n_gauges} gauges, {show(times[0])} to {show(times[1])}: {name} "
        f"{fit.before:.4g} to {fit.after:.4g} in {fit.epochs} epochs"
    )
    mark = ("reach", calibrated, {"long_name": "whether parameters were calibrated"})
    return network.assign({CALIBRATED: mark}).assign_attrs(**{CALIBRATED: text})

