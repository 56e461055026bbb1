"""One filter for all reaches, of whatever schemes they are, looked at before anything is routed with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.schemes.base import Filter, Scheme
from xroute.schemes.registry import find_scheme
from xroute.schemes.window import MAX_TAPS, find_windows, give_back
from xroute.settings import Lateral
from xroute.wording import argument

if TYPE_CHECKING:
    import torch

__all__ = ["all_reaches", "has_triton", "is_all_reaches", "make_filter"]

LONGEST = 2**20
"""Taps beyond any river: so many for each step of each reach would not end."""


def make_filter(
    parameters: Mapping[str, tuple[NDArray[np.int64], Mapping[str, Any]]],
    dt: float,
    n_reaches: int,
    *,
    lateral: Lateral = "head",
    ids: NDArray[Any] | None = None,
    max_taps: int = MAX_TAPS,
    check: bool | None = None,
    find: Callable[[str], Scheme] = find_scheme,
) -> Filter:
    """Filter of every reach at one routing step.

    Parameters
    ----------
    parameters
        By scheme name: the positions [reach] of its reaches, and its parameters by name (float64 arrays or tensors [reach],
        SI units). Together the positions are all reaches, once. The filter is made on the device of the tensors.
    dt : float
        Routing step [s].
    n_reaches
        Number of reaches.
    lateral
        With ``"interval"`` the filter has a gain for lateral inflow, the sum of the taps; windows have none.
    ids : [reach], optional
        Ids for messages.
    max_taps
        Longest window allowed.
    check
        Whether to look at what the built-in schemes give, as is always done with a user's; by default where that does not
        mean to wait for a GPU.
    find
        Gives the scheme of a name, where that is not among those of the channel.

    Returns
    -------
    Filter
        Taps, pole and gain of each reach.

    Raises
    ------
    ParameterError
        If a window would be longer than ``max_taps``, ``lateral="interval"`` meets a scheme with a window, or a filter
        that is looked at is not finite or does not decay.

    Examples
    --------
    >>> import numpy as np
    >>> from xroute.schemes import make_filter
    >>> filter = make_filter({"linear_storage": (np.arange(2), {"tau": np.array([3600.0, 7200.0])})}, 3600.0, 2)
    >>> filter.n_taps
    array([1, 1])
    """
    import torch

    if isinstance(max_taps, bool) or not isinstance(max_taps, (int, np.integer)) or not 1 <= max_taps <= LONGEST:
        raise ParameterError(f"max_taps is a whole number from 1 to {LONGEST:,}, not {max_taps!r}: every step costs as many")
    device = _device(parameters)
    ids = all_reaches(n_reaches) if ids is None else ids
    if lateral == "interval":
        _refuse_windows(parameters, ids)
    look = device.type == "cpu" if check is None else check
    groups, whole = [], False
    for name, (its, values) in parameters.items():
        if its.size:
            whole = is_all_reaches(its, n_reaches)
            groups += _groups(find(name), its, values, dt, ids if whole else ids[its], max_taps, device, look)
    if len(groups) == 1 and not groups[0].scheme.is_cut_off and whole:
        return _filter_of(groups[0], lateral)  # nothing to merge: the usual case
    n_taps = np.ones(n_reaches, np.int64)
    for group in groups:
        n_taps[group.at] = group.n_taps
    pointer = np.concatenate([[0], np.cumsum(n_taps)])
    taps, pole, gain = (
        torch.zeros(size, dtype=torch.float64, device=device) for size in (int(pointer[-1]), n_reaches, n_reaches)
    )
    for group in groups:
        at = torch.from_numpy(group.at).to(device)
        k = group.taps.shape[1]
        inside = np.arange(k) < np.broadcast_to(group.n_taps, group.at.shape)[:, None]
        entry = torch.from_numpy((pointer[group.at][:, None] + np.arange(k))[inside]).to(device)
        taps = taps.index_put((entry,), group.taps[torch.from_numpy(inside).to(device)])
        if group.pole is not None:
            pole = pole.index_put((at,), group.pole)
        if lateral == "interval":
            gain = gain.index_put((at,), group.scheme.interval_gain(group.taps))
    return Filter(taps, pointer, pole, gain)


def all_reaches(n: int) -> NDArray[np.int64]:
    """Positions of all reaches: one array each time, which `is_all_reaches` need not look into."""
    return _every(n)


def is_all_reaches(at: NDArray[np.int64], n: int) -> bool:
    """Whether positions are those of all reaches, in order."""
    every = all_reaches(n)
    return at is every or (at.size == n and np.array_equal(at, every))


@lru_cache(maxsize=8)
def _every(n: int) -> NDArray[np.int64]:
    return _multiples(n, 1)[:-1]


@lru_cache(maxsize=8)
def _multiples(n: int, step: int) -> NDArray[np.int64]:
    """``0, step, ..., n * step``: one array each time, so that what is derived from it can be kept."""
    return np.arange(n + 1) * step


def _device(parameters: Mapping[str, tuple[NDArray[np.int64], Mapping[str, Any]]]) -> torch.device:
    """Where the parameters are, and so the filter: arrays count as the host's."""
    import torch

    found = {v.device for _, values in parameters.values() for v in values.values() if isinstance(v, torch.Tensor)}
    if len(found) > 1:
        raise ParameterError(f"the parameters are on several devices: {some(sorted(map(str, found)))}")
    return found.pop() if found else torch.device("cpu")


def _refuse_windows(parameters: Mapping[str, tuple[NDArray[np.int64], Mapping[str, Any]]], ids: NDArray[Any]) -> None:
    """Refuse to let runoff join over the interval where a scheme with a window routes it."""
    windowed = {name: at for name, (at, _) in parameters.items() if at.size and find_scheme(name).windowed}
    if windowed:
        named = "; ".join(f"{at.size} reaches are {name}: {some(ids[at])}" for name, at in windowed.items())
        raise ParameterError(
            f"{argument('lateral', 'interval')} is for schemes of taps and a pole, which act on values at the ends of steps; "
            f"{named}. The taps of a window act on means over steps already: {argument('lateral', 'head')} is what takes runoff "
            "as constant within a step"
        )


@dataclass(frozen=True)
class _Group:
    """Reaches of one scheme with windows of about one length."""

    scheme: Scheme
    at: NDArray[np.int64]
    taps: torch.Tensor
    n_taps: NDArray[np.int64] | int  # one number for all, or of each
    pole: torch.Tensor | None
    zero: torch.Tensor | None = None  # for each reach, where it has been made along with these


def _filter_of(group: _Group, lateral: Lateral) -> Filter:
    """Filter of reaches that are all of one group."""
    import torch

    n, k = group.taps.shape
    none = torch.zeros(n, dtype=torch.float64, device=group.taps.device) if group.zero is None else group.zero
    return Filter(
        group.taps.reshape(-1),
        _multiples(n, k),
        none if group.pole is None else group.pole,
        group.scheme.interval_gain(group.taps) if lateral == "interval" else none,
    )


def _groups(
    scheme: Scheme,
    at: NDArray[np.int64],
    values: Mapping[str, Any],
    dt: float,
    own_ids: NDArray[Any],
    max_taps: int,
    device: torch.device,
    look: bool,
) -> list[_Group]:
    """Reaches of a scheme: one group, or, where the response is cut off, one for each length up to a factor of two."""
    import torch

    tensors = {name: torch.as_tensor(v, dtype=torch.float64) for name, v in values.items()}
    if not scheme.is_cut_off:
        fused = _fused(scheme, tensors, dt, at.size, device)
        taps, pole, zero = fused or (*_applied(scheme, tensors, dt, 0, at.size, device), None)
        if look or scheme.from_user:
            _check(scheme, taps, pole, tensors, dt, own_ids)
        if pole is not None and fused is None:
            taps = _balanced(taps, pole)
        return [_Group(scheme, at, taps, taps.shape[1], pole, zero)]
    assert scheme.window is not None
    window = find_windows(scheme, dt, tensors, own_ids, max_taps)
    about = 2 ** np.ceil(np.log2(window)).astype(np.int64)
    groups = []
    for size in np.unique(about):  # long kernels on a few cost the others nothing
        here = np.flatnonzero(about == size)
        own = {name: t[torch.from_numpy(here).to(t.device)] for name, t in tensors.items()}
        taps, _ = _applied(scheme, own, dt, int(window[here].max()), here.size, device)
        taps = give_back(taps, window[here], None if scheme.window.mean is None else scheme.window.mean(dt, **own))
        if look or scheme.from_user:
            _check(scheme, taps, None, own, dt, own_ids[here])
        groups.append(_Group(scheme, at[here], taps, window[here], None))
    return groups


def _balanced(taps: torch.Tensor, pole: torch.Tensor) -> torch.Tensor:
    """Taps [n, K] that sum to 1 - pole to the last digit, so that slow reaches neither make nor lose water.

    A pole is rounded to multiples of 2^-53. Of a lake that keeps its water for a million steps, 1 - pole is 1e-6, and what a pole
    lacks of the true one would be lost, or made, at every step: 1e-10 of the water. So taps are made multiples of it too, and the
    last of them what the others leave. A user's taps that are not meant to sum to that stay as they are.
    """
    import torch

    with torch.no_grad():  # rounding has no derivative
        others = (1 + taps[:, :-1]) - 1
        last = (1 - pole)[:, None] - others.sum(dim=1, keepdim=True)
        lacking = torch.cat([others, last], dim=1) - taps
        is_rounding = lacking[:, -1:].abs() <= taps.shape[1] * 2.0**-50
        lacking = torch.where(is_rounding, lacking, 0.0)
    return taps + lacking


def _fused(
    scheme: Scheme, tensors: Mapping[str, torch.Tensor], dt: float, n: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """Taps, poles and zeros of a scheme that a GPU makes in one kernel, balanced; None where this is none."""
    formula, names = getattr(scheme.filter, "fused", None), [p.name for p in scheme.parameters]
    if formula is None or device.type != "cuda" or set(names) != set(tensors) or not has_triton():
        return None
    given = [tensors[name] for name in names]
    if any(t.shape != (n,) or t.device != device for t in given):
        return None
    from xroute.schemes.fused import fused_filter

    return fused_filter(formula, dt, given)


@lru_cache
def has_triton() -> bool:
    """Whether there is a compiler for a GPU's kernels; PyTorch can do without."""
    return importlib.util.find_spec("triton") is not None


def _applied(
    scheme: Scheme, tensors: Mapping[str, torch.Tensor], dt: float, n_taps: int, n: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Taps [n, K] and poles [n] that a scheme's function gives; a user's are brought to the right type and shape, or refused."""
    import torch

    if not scheme.from_user:
        return scheme.filter(dt, n_taps, **tensors)
    try:
        made = scheme.filter(dt, n_taps, **tensors)
    except ParameterError:
        raise
    except Exception as error:  # whatever their code may raise
        raise ParameterError(f"scheme {scheme.name!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        raise ParameterError(
            f"filter of scheme {scheme.name!r} returned {type(made).__name__}, not taps [reach, K] and pole [reach]"
        )
    taps, pole = made
    for what, tensor in (("taps", taps), ("poles", pole)):
        if tensor is None and what == "poles":
            continue
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            is_a = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise ParameterError(f"scheme {scheme.name!r} returned {what} that are {is_a}, not a tensor of floats")
    taps = taps.to(device, torch.float64)
    wanted = f"K from 1 to {LONGEST:,}" if not n_taps else f"K = {n_taps}, and no pole"
    if taps.ndim != 2 or taps.shape[0] not in (1, n) or not 1 <= taps.shape[1] <= LONGEST or n_taps not in (0, taps.shape[1]):
        raise ParameterError(f"scheme {scheme.name!r} returned taps of shape {tuple(taps.shape)}, not ({n}, K) with {wanted}")
    if pole is not None:
        pole = pole.to(device, torch.float64)
        if n_taps or tuple(pole.shape) not in ((), (1,), (n,)):
            raise ParameterError(
                f"scheme {scheme.name!r} returned poles of shape {tuple(pole.shape)}, not "
                + (f"({n},)" if not n_taps else "None, as one whose response is cut off")
            )
        pole = pole.expand(n)
    return taps.expand(n, -1), pole


def _check(
    scheme: Scheme,
    taps: torch.Tensor,
    pole: torch.Tensor | None,
    values: Mapping[str, torch.Tensor],
    dt: float,
    ids: NDArray[Any],
) -> None:
    """Refuse taps that are not finite and poles with which water would never leave; on a GPU this waits for it."""
    bad = ~taps.isfinite().all(dim=1)
    if pole is not None:
        bad = bad | ~(pole.abs() < 1)
    if not bool(bad.any()):
        return
    here = bad.cpu().numpy()
    its = "; ".join(f"{name} = {some(v.detach().cpu().numpy()[here], 3)}" for name, v in values.items())
    finite = bool(taps[bad].isfinite().all())
    raise ParameterError(
        f"{scheme.name}: {int(here.sum())} reaches have no filter at a routing step of {dt:g} s, because "
        + ("a pole is not between -1 and 1 and the response would not decay" if finite else "taps are NaN or infinite")
        + f": reaches {some(ids[here])}"
        + (f", with {its} in SI units" if its else "")
    )
