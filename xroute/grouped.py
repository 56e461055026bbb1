"""Parameters that groups of reaches share: one value a group, or one factor a group on the values that reaches have.

As `xroute.bounded`, whose forms without bounds these use, it never leaves a parameter's range.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.bounded import (
    EXTRA,
    FARTHEST,
    BoundedParameter,
    in_range,
    in_words,
    refuse_groups,
    to_physical,
    to_raw,
)
from xroute.exceptions import ParameterError, some
from xroute.groups import Groups, Learned
from xroute.schemes import Parameter
from xroute.settings import Form

__all__ = ["GroupedParameter", "bounded_parameter"]

Tensor = torch.Tensor
WIDTH = 128
"""Values that are added one after another, where gradients of groups are summed."""


def bounded_parameter(
    parameter: Parameter, value: NDArray[np.float64], learned: Learned | None, ids: NDArray[Any], scheme: str
) -> BoundedParameter:
    """A parameter of a scheme on its reaches, as it is to be learned: not at all, for each reach, or otherwise.

    Raises
    ------
    ParameterError
        If it is to be learned, and starts on a bound.
    """
    start = torch.from_numpy(value.copy())
    if learned is None or (learned.form == "value" and learned.groups is None):
        return BoundedParameter(parameter, start, learned is not None, ids, scheme)
    return GroupedParameter(parameter, start, learned, ids, scheme)


class GroupedParameter(BoundedParameter):
    """One parameter of one scheme, of which groups of reaches share what is learned.

    Parameters
    ----------
    parameter
        Its name and its range.
    value : float64 [its reaches]
        Where it starts, in SI units. A group's value starts at the mean of its reaches' between two bounds, and at their
        geometric mean beside one (of the distances from it). Factors act on these values; they start at one, and end where
        all reaches of a group would be on a bound. A reach that a factor would take out of the range stays on its bound.
    learned
        The form, and the groups of its reaches; without groups there is a factor for each reach.
    ids, scheme
        Ids of its reaches and name of the scheme, for messages.

    Raises
    ------
    ParameterError
        If groups start on a bound, or factors act on zeros, where gradients vanish.
    """

    def __init__(
        self, parameter: Parameter, value: Tensor, learned: Learned, ids: NDArray[Any], scheme: str
    ) -> None:
        torch.nn.Module.__init__(self)
        self.parameter, self.learned, self._how = parameter, True, learned
        groups = learned.groups
        of_reach = np.arange(value.numel()) if groups is None else groups.of_reach
        names = ids if groups is None else groups.labels
        self.prior: Tensor
        self._of_reach: Tensor
        self._sizes: Tensor
        self._least: Tensor
        self._most: Tensor
        sizes = np.bincount(of_reach, minlength=names.size)
        rows = [] if groups is None else _rows_of_sums(of_reach, sizes)
        self._n_levels = len(rows)
        named = {f"_rows{k}": level for k, level in enumerate(rows)}
        for name, array in {"_of_reach": of_reach, "_sizes": sizes, **named}.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)
        if learned.form == "scale":
            self.register_buffer("prior", value)
            for name, limit in zip(("_least", "_most"), self._limits(value), strict=True):
                self.register_buffer(name, limit, persistent=False)
            raw = _factor_to_raw(torch.ones_like(self._least), (self._least, self._most))
            on_bound, what = ~(raw.abs() <= FARTHEST).numpy(), "on zero or on a bound"
        else:
            raw, what = self._mean_of(value), "on a bound"
            on_bound = self._on_bound(raw)
        if on_bound.any():
            where = np.isin(of_reach, np.flatnonzero(on_bound))
            raise ParameterError(
                f"{scheme}: {parameter.name!r} is to be learned {self._in_words}, but {int(on_bound.sum())} of {names.size} "
                f"groups start {what} of {parameter.range}, where the gradient vanishes: {some(names[on_bound])} (reaches "
                f"{some(ids[where])}). Start them inside"
            )
        self.raw = torch.nn.Parameter(raw)

    @property
    def groups(self) -> Groups | None:
        """Groups of its reaches that have one value, or factor, each; None where each reach has its own."""
        return self._how.groups

    @property
    def form(self) -> Form:
        """What is learned: its ``"value"``, or a factor, ``"scale"``."""
        return self._how.form

    def group_values(self) -> Tensor:
        """Value in SI units of each group [group], or its factor; of each reach where there are no groups."""
        raw = self.raw.to(torch.float64)
        if self.form == "scale":
            return _raw_to_factor(raw, (self._least, self._most))
        return to_physical(self.parameter, raw)

    def raw_of(self, values: Tensor, at: Any = slice(None)) -> Tensor:
        """Form without bounds of other values of the groups (reaches, where there are none) at some positions, or factors.

        Factors beyond their limits are taken as these.
        """
        if self.form == "scale":
            least, most = self._least[at], self._most[at]
            return _factor_to_raw(values.clamp(least, most), (least, most))
        return to_raw(self.parameter, values)

    def physical(self, stored: Tensor, prior: Tensor | None = None) -> Tensor:
        """Value in SI units [its reaches] of what the module stores of it [group]; of other values than its own, for factors."""
        stored = stored.to(torch.float64)
        if self.form == "value":
            return self._spread(to_physical(self.parameter, stored))
        limits = (self._least, self._most) if prior is None else self._limits(prior)
        prior = self.prior if prior is None else prior
        return in_range(self.parameter, prior * self._spread(_raw_to_factor(stored, limits)))

    def get_extra_state(self) -> dict[str, Any]:
        """Form, name and labels of the groups, and which reach is in which: tensors, numbers and text only."""
        groups = self.groups
        if groups is None:
            return {"form": self.form, "name": None}
        return {"form": self.form, "name": groups.name, "labels": _plain(groups), "of_reach": torch.from_numpy(groups.of_reach)}

    def set_extra_state(self, state: Any) -> None:
        """Take nothing: `check_stored` has compared the groups before any value was taken."""

    def check_stored(self, state_dict: Mapping[str, Any], prefix: str, ids: NDArray[Any], scheme: str) -> None:
        """Refuse what a state dict has for it under a prefix, if that is out of range or of other groups.

        Raises
        ------
        ParameterError
            Naming reaches, of these ids, or groups.
        """
        raw, stored, prior = (state_dict.get(prefix + name) for name in ("raw", EXTRA, "prior"))
        if raw is None:  # torch says that it is missing
            return
        what = f"state dict, {scheme}"
        self._check_groups(stored, ids, f"{what}: {self.parameter.name!r}")
        if raw.shape != self.raw.shape or (prior is not None and prior.shape != self.prior.shape):
            return
        if prior is not None:
            prior = prior.detach().to(self.raw.device, torch.float64)
            self.parameter.check(prior.cpu().numpy(), ids, what)
        found = self.physical(raw.detach().to(self.raw.device), prior)
        self.parameter.check(found.cpu().numpy(), ids, what)

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return self._in_words

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.form == "scale":  # limits are those of the values that were loaded
            self._least, self._most = self._limits(self.prior)

    @property
    def _in_words(self) -> str:
        return in_words(self.form, None if self.groups is None else self.groups.name)

    def _check_groups(self, stored: Any, ids: NDArray[Any], what: str) -> None:
        """Refuse other groups, or another form, than these."""
        mine = self.get_extra_state()
        if not isinstance(stored, Mapping) or any(stored.get(n) != mine.get(n) for n in ("form", "labels")):
            raise refuse_groups(what, stored, self._in_words + (f" ({some(mine['labels'], 5)})" if "labels" in mine else ""))
        if self.groups is None:
            return
        its = np.asarray(stored["of_reach"].cpu())
        other = its != self.groups.of_reach if its.shape == self.groups.of_reach.shape else np.ones(ids.size, bool)
        if other.any():
            raise ParameterError(
                f"{what} was learned by groups {stored['name']!r}, and {int(other.sum())} reaches belong to others of them here: "
                f"{some(ids[other])}"
            )

    def _spread(self, values: Tensor) -> Tensor:
        """Values of groups [group] on their reaches [its reaches]."""
        if self.groups is None:
            return values
        rows = (getattr(self, f"_rows{k}") for k in range(self._n_levels))
        spread: Tensor = _Spread.apply(values, self._of_reach, *rows)
        return spread

    def _mean_of(self, value: Tensor) -> Tensor:
        """Raw values [group] that groups start from."""
        is_between = np.isfinite(self.parameter.low) and np.isfinite(self.parameter.high)
        terms = value if is_between else to_raw(self.parameter, value)
        mean = torch.zeros(self._sizes.numel(), dtype=torch.float64).index_add(0, self._of_reach, terms) / self._sizes
        return to_raw(self.parameter, mean) if is_between else mean

    def _limits(self, prior: Tensor) -> tuple[Tensor, Tensor]:
        """Least and greatest factor of each group [group]: beyond, all of its reaches would be on a bound.

        They are one where all values are zero, and the greatest is infinite where nothing limits it.
        """
        values, low, high = prior.cpu().numpy(), self.parameter.low, self.parameter.high
        with np.errstate(divide="ignore", invalid="ignore"):
            to_low, to_high = low / values, high / values
        least, most = np.where(values > 0, (to_low, to_high), (to_high, to_low))
        acts, of_reach = values != 0, self._of_reach.cpu().numpy()
        limits = np.full(self._sizes.numel(), np.inf), np.full(self._sizes.numel(), -np.inf)
        np.minimum.at(limits[0], of_reach[acts], np.fmax(least, 0.0)[acts])
        np.maximum.at(limits[1], of_reach[acts], most[acts])
        dead = np.isinf(limits[0])
        return tuple(torch.from_numpy(np.where(dead, 1.0, limit)).to(prior.device) for limit in limits)  # type: ignore[return-value]


def _factor_to_raw(factor: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
    """Form without bounds of factors between limits; infinite or NaN on a limit."""
    least, most = limits
    between = torch.logit((factor - least) / (most - least))
    return torch.where(most.isfinite(), between, torch.log(factor - least))


def _raw_to_factor(raw: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
    """Factors between limits of their form without bounds."""
    least, most = limits
    near = raw.clamp(-FARTHEST, FARTHEST)
    limited = most.isfinite()
    wide = torch.where(limited, most - least, 1.0)  # gradients of what is not taken must be finite
    return least + torch.where(limited, wide * torch.sigmoid(near), torch.exp(near))


def _plain(groups: Groups) -> list[Any]:
    """Labels as numbers and text of Python."""
    labels = groups.labels.tolist()
    return labels if all(isinstance(v, bool | int | float | str) for v in labels) else [str(v) for v in groups.labels]


class _Spread(torch.autograd.Function):
    """Values [group] on the reaches of the groups; gradients are summed group by group, in the same order each time.

    The adjoint of indexing adds up in whatever order threads of a GPU come, so that training would not end with the same bits.
    """

    @staticmethod
    def forward(values: Tensor, of_reach: Tensor, *rows: Tensor) -> Tensor:
        """Values [group], the group of each reach, and which are added to which (`_rows_of_sums`)."""
        return values.index_select(0, of_reach)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep where reaches are."""
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Sums of the gradients of each group's reaches."""
        rows = ctx.saved_tensors
        sums = grads[0]
        for level in rows:
            sums = torch.cat([sums, sums.new_zeros(1)])[level].sum(dim=1)
        return sums, None, *(None for _ in rows)


def _rows_of_sums(of_reach: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """How to add up values [reach] by group, some at a time: of each level, which entries of the one before make an entry.

    An entry behind the last one, to be zero, fills up. A GPU adds all entries of a level at once, each in the same order each
    time; sums of whole groups would be one thread's work each.
    """
    items, n_before, levels = np.argsort(of_reach, kind="stable"), of_reach.size, []
    while True:
        n_rows = np.maximum(-(-sizes // WIDTH), 1)
        nth = np.arange(items.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        row = np.repeat(np.cumsum(n_rows) - n_rows, sizes) + nth // WIDTH
        level = np.full((int(n_rows.sum()), min(WIDTH, int(sizes.max(initial=1)))), n_before)
        level[row, nth % WIDTH] = items
        levels.append(level)
        if (n_rows == 1).all():
            return levels
        items, n_before, sizes = np.arange(len(level)), len(level), n_rows
