r"""The truth that every kernel is tested against: float64, obvious, slow, plain numpy.

With :math:`r` the runoff of a reach, held constant over the :math:`S` substeps of a runoff step :math:`t`, and with
:math:`f = tS + s` the routing steps, each reach is the filter

.. math::

    I_i[f] &= \sum_u w_{ui}\, q_u[f] \;(+\; r_i[t] \text{ if the runoff joins at the head}) \\
    y_i[f] &= \sum_{k < K_i} h_i[k]\, I_i[f-k] \;(+\; g_i\, r_i[t] \text{ if it joins over the interval})
              \;+\; p_i\, y_i[f-1] \\
    q_i[f] &= y_i[f] \;(+\; r_i[t] \text{ if it joins at the outlet})

with taps :math:`h`, pole :math:`p`, gain :math:`g` and link weights :math:`w`. A runoff step's discharge is the mean of
:math:`q` over the ends of its substeps, the last of them, or the mean over the substeps' starts.

Nothing here is shared with the plan, the schemes or the compiled kernels: it stands by itself, to judge them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xroute.exceptions import one_of
from xroute.settings import LATERAL, SAMPLING

Float = NDArray[np.float64]


def topological_order(n_reaches: int, upstream: NDArray[Any], downstream: NDArray[Any]) -> list[int]:
    """Order the reaches, of which links join two each, so that each stands after all that drain to it (Kahn, 1962).

    >>> topological_order(3, np.array([2, 1]), np.array([1, 0]))
    [2, 1, 0]
    """
    n_waiting = [0] * n_reaches
    drains_to: list[list[int]] = [[] for _ in range(n_reaches)]
    for source, target in zip(upstream.tolist(), downstream.tolist(), strict=True):
        drains_to[source].append(target)
        n_waiting[target] += 1
    ready = [reach for reach in range(n_reaches) if n_waiting[reach] == 0]
    order: list[int] = []
    while ready:
        reach = ready.pop()
        order.append(reach)
        for target in drains_to[reach]:
            n_waiting[target] -= 1
            if n_waiting[target] == 0:
                ready.append(target)
    if len(order) != n_reaches:
        raise ValueError(f"the links hold a cycle: {n_reaches - len(order)} of {n_reaches} reaches cannot be ordered")
    return order


def route_reference(
    runoff: ArrayLike,
    links: tuple[ArrayLike, ArrayLike, ArrayLike],
    taps: Sequence[ArrayLike],
    pole: ArrayLike,
    gain: ArrayLike,
    *,
    substeps: int = 1,
    sampling: str = "mean",
    lateral: str = "head",
    inflow_history: ArrayLike | None = None,
    outflow: ArrayLike | None = None,
) -> tuple[Float, Float, Float]:
    r"""Route :math:`y[f] = \sum_k h[k]\, I[f-k] + g\, r + p\, y[f-1]` down a network, one reach after the other.

    Here :math:`I` is the sum of the weighted discharges of the reaches upstream, with the runoff :math:`r` where
    ``lateral`` is ``"head"``; discharge is :math:`y`, with :math:`r` where ``lateral`` is ``"outlet"``.

    Parameters
    ----------
    runoff : array_like, shape (batch, reach, time)
        Lateral inflow, as a volume flux.
    links : tuple of array_like
        Upstream positions, downstream positions and fractions, each of shape (n_links,).
    taps : sequence of 1-D array_like
        The taps of each reach, lag 0 first; they may differ in number.
    pole, gain : array_like, shape (reach,)
        The weight of the reach's last outflow; the weight of the runoff with ``lateral="interval"``.
    substeps : int, default 1
        Routing steps in a runoff step.
    sampling : {"mean", "last", "start-mean"}, default "mean"
        What of the substeps is reported.
    lateral : {"head", "interval", "outlet"}, default "head"
        Where the runoff joins its own reach.
    inflow_history : array_like, shape (batch, reach, K_max - 1), optional
        Inflow before the first step, newest first. Zero when not given.
    outflow : array_like, shape (batch, reach), optional
        The filtered outflow y before the first step. Zero when not given.

    Returns
    -------
    discharge : array of float64, shape (batch, reach, time)
        Discharge at the downstream end of each reach.
    inflow_history : array of float64, shape (batch, reach, K_max - 1)
        Inflow before the step that would come next, newest first.
    outflow : array of float64, shape (batch, reach)
        The last filtered outflow.

    Raises
    ------
    ValueError
        If an option is unknown, the links hold a cycle, or the lengths do not match.

    Examples
    --------
    Two reaches in a row, each of which holds its inflow back for one step:

    >>> runoff = np.array([[[1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    >>> discharge, _, _ = route_reference(runoff, ([0], [1], [1.0]), [[0.0, 1.0]] * 2, [0.0, 0.0], [0.0, 0.0])
    >>> discharge[0].tolist()
    [[0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    """
    one_of("lateral", lateral, LATERAL)
    one_of("sampling", sampling, SAMPLING)
    r_coarse = np.asarray(runoff, dtype=np.float64)
    n_batch, n_reaches, n_time = r_coarse.shape
    kernels = [np.asarray(kernel, dtype=np.float64) for kernel in taps]
    p, g, fraction = (np.asarray(values, dtype=np.float64) for values in (pole, gain, links[2]))
    if not len(kernels) == p.size == g.size == n_reaches:
        raise ValueError(f"{n_reaches} reaches of runoff but {len(kernels)} taps, {p.size} poles and {g.size} gains")
    upstream, downstream = (np.asarray(reaches, dtype=np.int64) for reaches in links[:2])

    n_lags = max((kernel.size for kernel in kernels), default=1) - 1
    history = np.zeros((n_batch, n_reaches, n_lags))
    if inflow_history is not None:
        history[:] = inflow_history
    last = np.zeros((n_batch, n_reaches))
    if outflow is not None:
        last[:] = outflow

    n_fine = n_time * substeps
    y = np.zeros((n_batch, n_reaches, n_fine))
    q = np.zeros((n_batch, n_reaches, n_fine))
    inflow = np.zeros((n_batch, n_reaches, n_lags + n_fine))  # the lags, oldest first, then the steps to be routed
    inflow[:, :, :n_lags] = history[:, :, ::-1]

    for reach in topological_order(n_reaches, upstream, downstream):
        r = np.repeat(r_coarse[:, reach, :], substeps, axis=-1)
        for link in np.flatnonzero(downstream == reach):
            inflow[:, reach, n_lags:] += fraction[link] * q[:, upstream[link], :]
        if lateral == "head":
            inflow[:, reach, n_lags:] += r

        filtered = np.zeros((n_batch, n_fine))
        for lag, tap in enumerate(kernels[reach]):
            filtered += tap * inflow[:, reach, n_lags - lag : n_lags - lag + n_fine]
        if lateral == "interval":
            filtered += g[reach] * r

        before = last[:, reach]
        for step in range(n_fine):
            before = filtered[:, step] + p[reach] * before
            y[:, reach, step] = before

        q[:, reach, :] = y[:, reach, :]
        if lateral == "outlet":
            q[:, reach, :] += r

    if sampling == "start-mean":
        before_y = np.concatenate([last[:, :, None], y], axis=-1)[:, :, :n_fine]
        discharge = _by_step(before_y, n_time).mean(axis=-1) + (r_coarse if lateral == "outlet" else 0.0)
    elif sampling == "mean":
        discharge = _by_step(q, n_time).mean(axis=-1)
    else:
        discharge = _by_step(q, n_time)[..., -1]

    history = inflow[:, :, n_fine:][:, :, ::-1].copy()
    if n_fine:
        last = y[:, :, -1].copy()
    return discharge, history, last


def _by_step(series: Float, n_time: int) -> Float:
    """Routing steps of each step of runoff on an axis of their own."""
    return series.reshape(*series.shape[:2], n_time, series.shape[2] // max(1, n_time))
