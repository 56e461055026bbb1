"""What a caller may ask of `route`: each option once, with its type and its default; and functions that take them as keywords.

`keywords_of` makes a public function of one that takes a request: callers give ``scheme=...``, ``nan=...`` and see them in
the signature, and what does the work is handed all of them in one object.
"""

import functools
import inspect
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, overload

import numpy as np
import xarray as xr

from xroute.exceptions import ParameterError
from xroute.network import Network
from xroute.settings import Extra, GridNaN, Hillslope, Label, Lateral, Missing, Per, Sampling

# No `from __future__ import annotations` here: help() shows the annotations of a signature, and these are meant to be read.

__all__ = ["BudgetRequest", "FootprintRequest", "NetworkLike", "RouteRequest", "StreamRequest", "WeightsLike", "keywords_of"]

NetworkLike = xr.Dataset | Network | str | os.PathLike[str]
"""A network Dataset, a `Network`, or the path of one."""
StateLike = xr.Dataset | str | os.PathLike[str]
"""The Dataset of a state, or the path of one."""
WeightsLike = xr.Dataset | str | os.PathLike[str]
"""A Dataset of weights, or the path of one or of another system's table."""
HillslopeLike = Hillslope | xr.DataArray | Sequence[float] | np.ndarray | os.PathLike[str] | str
"""The name of a unit hydrograph, its ordinates, or the path of these."""


@dataclass(frozen=True, kw_only=True)
class RouteRequest:
    """Options of a run, as the caller gave them: `xroute.route` says what each of them means.

    Raises
    ------
    ParameterError
        For ``partitions`` that is not a positive whole number.
    """

    scheme: str | None = None
    substeps: int | Literal["auto"] | None = None
    sampling: Sampling | None = None
    lateral: Lateral | None = None
    hillslope: HillslopeLike | None = None
    initial_state: StateLike | None = None
    return_state: bool = False
    missing: Missing = "raise"
    extra: Extra = "raise"
    nan: GridNaN = "raise"
    weights: WeightsLike | None = None
    partitions: int | None = None
    device: str | None = None
    reach_dim: Hashable | None = None
    time_dim: Hashable | None = None
    dt: Any = None
    label: Label | None = None
    known: xr.DataArray | None = None

    def __post_init__(self) -> None:
        n = self.partitions
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise ParameterError(f"partitions is a positive whole number or None, not {n!r}")


@dataclass(frozen=True, kw_only=True)
class StreamRequest(RouteRequest):
    """Options of a run from store to store: those of `RouteRequest`, and what `xroute.route_to_zarr` adds to them."""

    time_chunk: int | None = None
    memory: int | str | None = None
    state_time: Any = None
    resume: bool = True
    mode: Literal["w-", "w"] = "w-"
    progress: bool = True
    encoding: Mapping[str, Any] | None = None
    budget: bool = False


@dataclass(frozen=True, kw_only=True)
class BudgetRequest(RouteRequest):
    """Options of a water budget: those of the run that it is of, and what `xroute.budget` adds to them."""

    final_state: StateLike | None = None
    per: Per = "run"


@dataclass(frozen=True, kw_only=True)
class FootprintRequest(RouteRequest):
    """Options of a footprint: those of the run that it is of, and what `xroute.footprint` adds to them."""

    window: Any = None


# ── public functions, made of functions that take a request ─────────────────────────────────────────────────────────────

Options = ParamSpec("Options")
Request = TypeVar("Request", covariant=True)


class Routes(Protocol[Options]):
    """Type of `xroute.route`."""

    def __call__(
        self, runoff: xr.DataArray, network: NetworkLike, *args: Options.args, **kwargs: Options.kwargs
    ) -> Any:
        """Route runoff down a network."""
        ...


class RoutesInto(Protocol[Options]):
    """Type of `xroute.route_to_zarr`."""

    def __call__(
        self, runoff: xr.DataArray, network: NetworkLike, store: Any, *args: Options.args, **kwargs: Options.kwargs
    ) -> Any:
        """Route runoff down a network into a store."""
        ...


class Accounts(Protocol[Options]):
    """Type of `xroute.budget`."""

    def __call__(
        self, runoff: xr.DataArray, discharge: xr.DataArray, network: NetworkLike, *args: Options.args, **kwargs: Options.kwargs
    ) -> Any:
        """Account for the water of a run."""
        ...


class Traces(Protocol[Options]):
    """Type of `xroute.footprint`."""

    def __call__(
        self, network: NetworkLike, at: Any, runoff: xr.DataArray, *args: Options.args, **kwargs: Options.kwargs
    ) -> xr.DataArray:
        """Trace water back from a gauge."""
        ...


class KeywordsOf(Protocol[Options, Request]):
    """Type of the decorator: of each kind of function."""

    @overload
    def __call__(self, function: Callable[[xr.DataArray, NetworkLike, Request], Any], /) -> Routes[Options]: ...
    @overload
    def __call__(
        self, function: Callable[[xr.DataArray, xr.DataArray, NetworkLike, Request], Any], /
    ) -> Accounts[Options]: ...
    @overload
    def __call__(self, function: Callable[[xr.DataArray, NetworkLike, Any, Request], Any], /) -> RoutesInto[Options]: ...
    @overload
    def __call__(
        self, function: Callable[[NetworkLike, Any, xr.DataArray, Request], xr.DataArray], /
    ) -> Traces[Options]: ...
    @overload
    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]: ...


def keywords_of(request: Callable[Options, Request]) -> KeywordsOf[Options, Request]:
    """Decorate a function whose last argument is a request: in public it takes the request's fields as keywords.

    Parameters
    ----------
    request
        The class of the request, such as `RouteRequest`.

    Raises
    ------
    TypeError
        By the public function, for keywords that are no options, and for too many arguments, as Python words them.

    Examples
    --------
    >>> from xroute.request import RouteRequest, keywords_of
    >>> @keywords_of(RouteRequest)
    ... def schemed(runoff, network, request):
    ...     return request.scheme
    >>> schemed(None, None, scheme="muskingum")
    'muskingum'
    """

    def decorate(function: Callable[..., Any]) -> Any:
        *own, _ = inspect.signature(function, eval_str=True).parameters.values()
        options, name = inspect.signature(request).parameters, function.__name__
        make: Callable[..., Any] = request

        @functools.wraps(function)
        def public(*args: Any, **kwargs: Any) -> Any:
            for word in kwargs:
                if word not in signature.parameters:
                    raise TypeError(f"{name}() got an unexpected keyword argument {word!r}")
            if len(args) > len(own):
                raise TypeError(f"{name}() takes {len(own)} positional arguments but {len(args)} were given")
            of_request = {word: kwargs.pop(word) for word in list(kwargs) if word in options}
            return function(*args, **kwargs, request=make(**of_request))

        signature = inspect.Signature([*own, *options.values()])
        public.__signature__ = signature  # type: ignore[attr-defined]
        public.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return public

    return decorate
