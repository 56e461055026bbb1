"""The schemes there are, and how users add theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace as changed
from typing import TYPE_CHECKING, Any

from xroute.exceptions import ParameterError, some
from xroute.schemes.base import Float, Parameter, Scheme, Window
from xroute.schemes.builtin import BUILT_IN, DEFAULT_SCHEME
from xroute.schemes.mizuroute import MIZUROUTE_IRF
from xroute.schemes.river_route import RIVER_ROUTE_3
from xroute.wording import phrase

if TYPE_CHECKING:
    import torch
    import xarray as xr

__all__ = ["SCHEMES", "find_scheme", "name_default_scheme", "register_scheme"]

SCHEMES: dict[str, Scheme] = {s.name: s for s in (*BUILT_IN, RIVER_ROUTE_3, MIZUROUTE_IRF)}
"""Schemes by name: the built-in ones and those that users register."""


def find_scheme(name: str, of: str = "") -> Scheme:
    """Scheme of a name.

    Parameters
    ----------
    name
        Such as ``"muskingum"``; `SCHEMES` has them all.
    of
        Whose name that is, for the message, such as ``" of the network"``.

    Returns
    -------
    Scheme
        What is known of it.

    Raises
    ------
    ParameterError
        Naming the schemes there are.

    Examples
    --------
    >>> from xroute.schemes import find_scheme
    >>> find_scheme("hayami").summary
    'diffusive wave'
    """
    if name not in SCHEMES:
        raise ParameterError(
            f"no scheme {name!r}{of}; there are {', '.join(sorted(SCHEMES))}"
            + phrase("own scheme", ". Add yours with register_scheme")
        )
    return SCHEMES[name]


def name_default_scheme(network: xr.Dataset) -> None:
    """Let a network Dataset that has what `DEFAULT_SCHEME` needs name it."""
    if find_scheme(DEFAULT_SCHEME).fits(network):
        network.attrs["scheme"] = DEFAULT_SCHEME


def register_scheme(
    name: str | Scheme,
    parameters: Mapping[str, Parameter | str] | tuple[Parameter | str, ...] | list[Parameter | str] | None = None,
    *,
    taps: Callable[..., torch.Tensor] | None = None,
    filter: Callable[..., tuple[torch.Tensor, torch.Tensor | None]] | None = None,
    step_range: Callable[..., tuple[Any, Any]] | None = None,
    instead: str | None = None,
    of_reach: Callable[..., Mapping[str, Float]] | None = None,
    replace: bool = False,
) -> Scheme:
    """Add a scheme of your own.

    Parameters
    ----------
    name
        What networks call it. Or all of it at once, as the built-in ones are written: a `xroute.schemes.Scheme`, which can
        have a window that is cut off, too. Then ``replace`` is the only other argument. So
        ``dataclasses.replace(find_scheme("hayami"), name="mine", ...)`` is one much like another.
    parameters
        Its parameters, each a `Parameter` (name, SI units, range) or just a name; or a mapping of names to SI units. An
        empty list for a scheme that has none.
    taps
        ``taps(dt, **parameters) -> [reach, K]``: a response of finite length to means over steps, in torch, from float64
        tensors [reach] in SI units and the routing step in seconds. Written in differentiable operations it can be
        calibrated.
    filter
        ``filter(dt, **parameters) -> (taps [reach, K], pole [reach])``: instead of ``taps``, for an infinite response to
        values at the ends of steps, with parameters in SI units. It may be routed with ``lateral="interval"``.
    step_range
        ``step_range(**parameters) -> (lowest, highest)``, arrays [reach] in numpy: routing steps [s] between which the
        scheme neither dips below zero nor oscillates. ``substeps="auto"`` and warnings follow it.
    instead
        Scheme with the same parameters and the same mean travel time that does not oscillate at any step: what the
        warning about reaches that are too short for the step names.
    of_reach
        ``of_reach(length=, celerity=, weight=) -> parameters by name``, arrays [reach] in numpy: what synthetic rivers
        are made with (`xroute.datasets.scheidegger`).
    replace
        Whether a scheme of that name may be replaced.

    Returns
    -------
    Scheme
        What was registered, under its name in `xroute.schemes.SCHEMES`.

    Raises
    ------
    ParameterError
        If the name is taken, not exactly one function is given, or names and functions are none.

    Examples
    --------
    A reach that passes half of its inflow at once and half one step later:

    >>> import torch, xroute
    >>> scheme = xroute.register_scheme("half_half", [], taps=lambda dt: torch.tensor([[0.5, 0.5]]), replace=True)
    """
    rest = {"taps": taps, "filter": filter, "step_range": step_range, "of_reach": of_reach}
    if isinstance(name, Scheme):
        if parameters is not None or instead is not None or any(function is not None for function in rest.values()):
            raise ParameterError(f"scheme {name.name!r} is given as a whole: what else it is, it says itself")
        scheme = changed(name, parameters=_as_parameters(name.name, name.parameters), from_user=True)
        rest = {key: getattr(scheme, key) for key in rest if key != "taps"}
    else:
        if (taps is None) == (filter is None):
            raise ParameterError(f"scheme {name!r} needs exactly one of taps= and filter=")
        scheme = Scheme(
            name, _as_parameters(name, parameters), _as_filter(taps, filter), window=None if taps is None else Window(),
            step_range=step_range, instead=instead, of_reach=of_reach, from_user=True,
        )  # fmt: skip
    _check(scheme, rest, replace)
    SCHEMES[scheme.name] = scheme
    return scheme


def _check(scheme: Scheme, functions: Mapping[str, Any], replace: bool) -> None:
    """Refuse a scheme whose name is taken or whose entries are not what they should be; ``functions`` by the user's words."""
    name, instead = scheme.name, scheme.instead
    if not isinstance(name, str) or not name.strip():
        raise ParameterError(f"a scheme's name is text, not {name!r}")
    if name in SCHEMES and not replace:
        raise ParameterError(f"there is a scheme {name!r} already; pass replace=True to put yours in its place")
    for what, function in functions.items():
        if function is not None and not callable(function):
            raise ParameterError(f"scheme {name!r}: {what}= is a function, not {function!r}")
    names = {p.name for p in scheme.parameters}
    if instead is not None and (instead not in SCHEMES or {p.name for p in SCHEMES[instead].parameters} != names):
        raise ParameterError(f"scheme {name!r}: instead= is a scheme of the same parameters, not {instead!r}")


def _as_filter(taps: Callable[..., Any] | None, filter: Callable[..., Any] | None) -> Callable[..., Any]:
    """A user's function as `Scheme.filter`, which is also told of a number of taps."""
    if taps is not None:
        return lambda dt, n_taps, /, **values: (taps(dt, **values), None)
    assert filter is not None
    return lambda dt, n_taps, /, **values: filter(dt, **values)


def _as_parameters(name: str, parameters: Any) -> tuple[Parameter, ...]:
    """Parameters of a scheme, checked."""
    wanted = f"scheme {name!r}: parameters= is a list of names or Parameters, or a mapping of names to SI units"
    if isinstance(parameters, Mapping):
        items = [p if isinstance(p, Parameter) else (key, p) for key, p in parameters.items()]
        moved = [key for key, p in parameters.items() if isinstance(p, Parameter) and p.name != key]
        if moved:
            raise ParameterError(f"scheme {name!r}: the Parameters under {some(moved)} have other names")
    elif isinstance(parameters, (str, bytes)) or not hasattr(parameters, "__iter__"):
        raise ParameterError(f"{wanted}, not {parameters!r}")
    else:
        items = [p if isinstance(p, Parameter) else (p, "1") for p in parameters]
    found = []
    for item in items:
        if isinstance(item, Parameter) and isinstance(item.name, str) and item.name:
            found.append(item)
        elif isinstance(item, Parameter):
            raise ParameterError(f"{wanted}; a Parameter's name is text, not {item.name!r}")
        elif all(isinstance(text, str) and text for text in item):
            found.append(Parameter(*item))
        else:
            raise ParameterError(f"{wanted}; {item[0]!r} with units {item[1]!r} is none")
    names = [p.name for p in found]
    twice = sorted({str(n) for n in names if names.count(n) > 1})
    if twice:
        raise ParameterError(f"scheme {name!r} has parameters of the same name: {some(twice)}")
    if "dt" in names:
        raise ParameterError(f"scheme {name!r}: its functions get the routing step as dt; give that parameter another name")
    return tuple(found)
