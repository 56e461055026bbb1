"""`ParameterModel.fit`: a model trained so that rivers fit their gauges, through the loop that calibrates.

A model is of one network, of which only what is upstream of gauges is routed; what it says of the others is in the result, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from xroute.exceptions import ParameterError, warn
from xroute.groups import Learned
from xroute.identity import digest
from xroute.learning.calibration import finish, identity_of
from xroute.learning.learnable import before_of
from xroute.learning.learned_network import with_learned
from xroute.learning.model_inputs import ModelInputs
from xroute.learning.problem import Problem, make_problem
from xroute.learning.progress_file import ProgressFile
from xroute.learning.request import CalibrationRequest, ObservedLike
from xroute.learning.result import Calibration
from xroute.learning.stages import Staged, file_of_stage, join_fits, loss_of, remove_files, run_stages
from xroute.learning.training import Fit, train
from xroute.network import Network
from xroute.network_files import as_network
from xroute.request import NetworkLike
from xroute.router import Router

__all__ = ["fit_model"]

Tensor = torch.Tensor


def fit_model(
    model: Any, runoff: xr.DataArray, network: NetworkLike, observed: ObservedLike, request: CalibrationRequest
) -> Calibration:
    """Train a `ParameterModel`; see its `fit`."""
    _refuse_unused(request)
    request = replace(request, optimizer=request.optimizer or "lbfgs", parameters=model.parameter_names)
    whole = as_network(network)
    if not model.is_prepared:
        model.prepare(whole, request.scheme, request.hillslope)
    inputs = model.inputs(whole, request.scheme, request.hillslope)
    told = f"ParameterModel of {', '.join(model.attributes)}"
    lacking = [name for name in model.parameter_names if name not in whole]
    home = model.layers.device
    try:
        if lacking:  # there is nothing before it to compare with: the model as it is begins
            whole = _predicted(model, whole, inputs, told)
        problem = make_problem(runoff, whole, observed, request)
        model.to(problem.device)
        part = inputs.take(problem.reaches).to(problem.device)
        identity = _identity(model, problem, request)
        if request.checkpoint is not None and request.stages and _has_finished(model, request, identity):
            remove_files(request.checkpoint, problem.observations.n_gauges)  # of a run that was killed before it did so
            return Calibration.load(request.checkpoint)
        fit = (_fit_in_stages if request.stages else _fit)(model, problem, part, request)
        made = _predicted(model, whole, inputs, told)
    finally:
        model.to(home)
    everywhere = np.ones(whole.n_reaches, bool)
    what = f"{', '.join(model.parameter_names)} ({told})"
    before = before_of(problem, dict.fromkeys(model.parameter_names, Learned()))
    result = finish(problem, fit, made, calibrated=everywhere, before=before, identity=identity, what=what)
    if request.checkpoint is not None:
        result.save(request.checkpoint)
        if request.stages:
            remove_files(request.checkpoint, problem.observations.n_gauges)
    return result


def _refuse_unused(request: CalibrationRequest) -> None:
    """Refuse options of a calibration that a model has of its own."""
    default = CalibrationRequest()
    for name in ("parameters", "groups", "priors"):
        given, usual = getattr(request, name), getattr(default, name)
        if not (isinstance(given, type(usual)) and given == usual):
            raise ParameterError(
                f"{name}= is of xroute.calibrate: what a ParameterModel learns is said when it is made, and its "
                "attributes say which reaches are alike"
            )


def _predicted(model: Any, network: Network, inputs: ModelInputs, told: str) -> Network:
    with torch.no_grad():
        return with_learned(network, model(inputs), inputs, f"xroute.{told}")


def _identity(model: Any, problem: Problem, request: CalibrationRequest) -> dict[str, str]:
    """What another run must share to go on with this one's file; the model as it begins is part of it."""
    weights = [value.detach().cpu().numpy() for value in model.state_dict().values()]
    return identity_of(problem, request, {}, problem.whole) | {"model": digest(weights)}


def _has_finished(model: Any, request: CalibrationRequest, identity: dict[str, str]) -> bool:
    """Whether a file has the result of all stages; then the model takes its weights."""
    if request.checkpoint is None:
        return False
    progress = ProgressFile(request.checkpoint, identity, resume=request.resume).read()
    if progress is None:
        return False
    with torch.no_grad():
        for weight, value in zip(model.parameters(), progress["learned"], strict=True):
            weight.copy_(value)
    return True


def _fit(model: Any, problem: Problem, inputs: ModelInputs, request: CalibrationRequest) -> Fit:
    """Train on a problem."""
    identity = _identity(model, problem, request)
    file = None if request.checkpoint is None else ProgressFile(request.checkpoint, identity, resume=request.resume)
    return train(problem, model, lambda: model(inputs), problem.router(), _penalty(model, inputs), request, file)


def _fit_in_stages(model: Any, problem: Problem, inputs: ModelInputs, request: CalibrationRequest) -> Fit:
    """Train stage after stage down the river."""
    router = problem.router()
    before = loss_of(problem, router, lambda: model(inputs))

    def train_stage(part: Staged) -> tuple[Fit, Router, Callable[[], dict[str, Tensor]]]:
        own = inputs.take(part.stage.reaches)
        file = file_of_stage(request.checkpoint, part.number)
        fit = _fit(model, part.problem, own, replace(request, checkpoint=file))
        return fit, part.problem.router(), lambda: model(own)

    fits = {part.number: fit for part, fit in run_stages(problem, train_stage)}
    after = loss_of(problem, router, lambda: model(inputs))
    if not after < before:
        warn(
            f"after all stages the river as a whole fits no better than before, loss {before:.4g} to {after:.4g}: the last "
            "stages may have unlearned what the first ones taught; fit without stages, or with fewer epochs"
        )
    return join_fits(fits, before, after, {"learned": [p.detach().cpu() for p in model.parameters()]})


def _penalty(model: Any, inputs: ModelInputs) -> Callable[[], Tensor]:
    """Mean squared distance from where parameters start, in the form without bounds; weighed by ``penalty``."""

    def penalty() -> Tensor:
        distance: Tensor = model.layers(inputs.features).square().mean()
        return distance

    return penalty
