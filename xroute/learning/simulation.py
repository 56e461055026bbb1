"""Discharge at gauges, as steps of observation see it: rows picked from what a river gives, and means over their steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Gauged", "simulated"]

Tensor = torch.Tensor


class Gauged:
    """The rows of gauges among reaches, of which several may be on one.

    Parameters
    ----------
    reach : int64 [gauge]
        Positions of their reaches.
    n_reaches
        Number of reaches.
    device
        Where discharge will be.
    """

    def __init__(self, reach: NDArray[np.int64], n_reaches: int, device: torch.device) -> None:
        self.n_gauges = int(reach.size)
        self._all = reach.size == n_reaches and bool((reach == np.arange(n_reaches)).all())
        order = np.argsort(reach, kind="stable")
        first = np.r_[True, np.diff(reach[order]) > 0] if reach.size else np.empty(0, bool)
        begin = np.flatnonzero(first)
        nth = np.arange(reach.size) - np.repeat(begin, np.diff(np.r_[begin, reach.size]))
        rounds = [order[nth == k] for k in range(int(nth.max(initial=-1)) + 1)]
        self._rounds = [(torch.from_numpy(at).to(device), torch.from_numpy(reach[at]).to(device)) for at in rounds]
        self._reach = torch.from_numpy(reach).to(device)

    def __call__(self, discharge: Tensor) -> Tensor:
        """Discharge [batch, reach, time] at the gauges [batch, gauge, time]."""
        if self._all:
            return discharge
        picked: Tensor = _Rows.apply(discharge, self._reach, self._rounds)
        return picked


def simulated(discharge: Tensor, gauged: Gauged, skip: int, n_steps: int, every: int) -> Tensor:
    """Discharge [1, reach, time] as gauges see it: after ``skip`` steps, means over ``every``, of ``n_steps`` [gauge, step]."""
    rows = gauged(discharge)[0, :, skip : skip + n_steps * every]
    return rows if every == 1 else rows.reshape(rows.shape[0], n_steps, every).mean(dim=-1)


class _Rows(torch.autograd.Function):
    """Rows of a tensor [batch, row, time]; gradients of one row that is taken several times are added in a fixed order.

    The adjoint of indexing adds up in whatever order threads of a GPU come, so that training would not end with the same bits.
    """

    @staticmethod
    def forward(values: Tensor, rows: Tensor, rounds: Any) -> Tensor:
        """Values, rows, and the same rows in rounds in each of which none stands twice: (which of them, row)."""
        return values.index_select(1, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep where rows come from."""
        ctx.shape, ctx.rounds = inputs[0].shape, inputs[2]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Sums of the gradients of each row."""
        total = grads[0].new_zeros(ctx.shape)
        for k, (at, row) in enumerate(ctx.rounds):
            more = grads[0].index_select(1, at)
            total.index_copy_(1, row, more if k == 0 else more + total.index_select(1, row))
        return total, None, None
