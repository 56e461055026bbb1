"""`CalibrationRequest`: what callers of `xroute.calibrate` may ask, each option once, with its default."""

import math
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Protocol, cast

import numpy as np
import pandas as pd
import xarray as xr

from xroute.exceptions import ParameterError, one_of
from xroute.request import HillslopeLike, NetworkLike, RouteRequest, WeightsLike, keywords_of
from xroute.settings import (
    LOSS,
    OPTIMIZER,
    STAGES,
    Extra,
    GridNaN,
    Label,
    Lateral,
    Loss,
    Missing,
    Optimizer,
    Sampling,
    Stages,
)
from xroute.wording import argument

# No `from __future__ import annotations` here: help() shows the annotations of a signature, and these are meant to be read.

__all__ = ["Calibrates", "CalibrationRequest", "ObservedLike", "options_of"]

ObservedLike = xr.DataArray | xr.Dataset | pd.DataFrame | pd.Series | str | os.PathLike[str]
"""Discharge at gauges, or the path of a file with it."""
Parameters = str | Iterable[str] | Mapping[str, Any]
Period = slice | Sequence[slice] | None


@dataclass(frozen=True, kw_only=True)
class CalibrationRequest:
    """Options of a calibration, as the caller gave them, of which `xroute.calibrate` says what each of them means.

    Raises
    ------
    ParameterError
        For options of impossible values.
    """

    parameters: Parameters = ("k", "x")
    groups: Any = None
    loss: Loss | Callable[..., Any] = "nse"
    gauge_weights: Any = None
    priors: Mapping[str, Any] | None = None
    penalty: float = 0.0
    train: Period = None
    test: Period = None
    spinup: Any = None
    window: Any = None
    carry: bool = False
    epochs: int | None = None
    optimizer: Optimizer | None = None
    learning_rate: float | None = None
    patience: int | None = None
    seed: int = 0
    device: str | None = None
    progress: bool = True
    checkpoint: str | os.PathLike[str] | None = None
    resume: bool = True
    stages: Stages | None = None
    scheme: str | None = None
    substeps: int | Literal["auto"] | None = None
    sampling: Sampling | None = None
    lateral: Lateral | None = None
    hillslope: HillslopeLike | None = None
    weights: WeightsLike | None = None
    known: xr.DataArray | None = None
    missing: Missing = "raise"
    extra: Extra = "raise"
    nan: GridNaN = "raise"
    dt: Any = None
    label: Label | None = None
    observed_label: Label | None = None
    observed_step: Any = None
    reach_dim: Hashable | None = None
    time_dim: Hashable | None = None

    def __post_init__(self) -> None:
        if not callable(self.loss):
            one_of("loss", self.loss, LOSS)
        if self.optimizer is not None:
            one_of("optimizer", self.optimizer, OPTIMIZER)
        if self.stages is not None:
            one_of("stages", self.stages, STAGES)
        for name in ("epochs", "patience"):
            value = getattr(self, name)
            if value is not None and not (_is_whole(value) and value >= 1):
                raise ParameterError(f"{argument(name)} is a positive whole number or None, not {value!r}")
        if not (_is_whole(self.seed) and 0 <= self.seed < 2**63):
            raise ParameterError(f"{argument('seed')} is a whole number from 0 on, not {self.seed!r}")
        for name, value, least in (("learning_rate", self.learning_rate, None), ("penalty", self.penalty, 0.0)):
            if value is None and least is None:
                continue
            number: Any = value
            fits = isinstance(number, int | float | np.integer | np.floating) and not isinstance(number, bool)
            if not fits or not math.isfinite(number) or (number <= 0 if least is None else number < least):
                what = "a positive number" if least is None else "a number from 0 on"
                raise ParameterError(f"{argument(name)} is {what}, not {value!r}")
        for name in ("train", "test"):
            for one in periods_of(getattr(self, name)):
                if not isinstance(one, slice) or one.step is not None:
                    raise ParameterError(
                        f'{argument(name)} is a slice of times, slice("1990", "1999"), or several of them, not {one!r}'
                    )
        if self.patience is not None and self.test is None:
            raise ParameterError(
                f"{argument('patience')} waits for the test period to get better, and there is none: give {argument('test')}"
            )
        if self.carry and self.window is None:
            raise ParameterError(
                f"{argument('carry')} hands the state from window to window, and there is one: give {argument('window')}"
            )

    def route_request(self) -> RouteRequest:
        """Options of the run that is calibrated."""
        return RouteRequest(
            scheme=self.scheme, substeps=self.substeps, sampling=self.sampling, lateral=self.lateral, hillslope=self.hillslope,
            missing=self.missing, extra=self.extra, nan=self.nan, weights=self.weights, device=self.device,
            reach_dim=self.reach_dim, time_dim=self.time_dim, dt=self.dt, label=self.label, known=self.known,
        )  # fmt: skip


def periods_of(given: Period) -> tuple[slice, ...]:
    """Slices of a period: none, one or several."""
    if given is None:
        return ()
    return tuple(given) if isinstance(given, list | tuple) else (cast(slice, given),)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


Options = ParamSpec("Options")


class Calibrates(Protocol[Options]):
    """Type of `xroute.calibrate`."""

    def __call__(
        self,
        runoff: xr.DataArray,
        network: NetworkLike,
        observed: ObservedLike,
        *args: Options.args,
        **kwargs: Options.kwargs,
    ) -> Any:
        """Calibrate a network."""
        ...


def options_of(
    request: Callable[Options, Any],
) -> Callable[[Callable[[xr.DataArray, NetworkLike, ObservedLike, Any], Any]], Calibrates[Options]]:
    """Decorate a function of runoff, network, observations and a request: in public it takes the request's fields as keywords."""
    return cast(Any, keywords_of)(request)
