"""Questions to a network that its filters answer, as methods of `xroute.Network` that only delegate: responses, travel times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import xarray as xr

from xroute.settings import Lateral, Sampling

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["NetworkAnswers"]


class NetworkAnswers:
    """Responses and travel times of `xroute.Network`."""

    def response(
        self,
        source: Any,
        target: Any,
        dt: Any = None,
        *,
        n_steps: int | None = None,
        scheme: str | None = None,
        substeps: int | Literal["auto"] | None = None,
        sampling: Sampling | None = None,
        lateral: Lateral | None = None,
        hillslope: Any = None,
    ) -> xr.DataArray:
        """Unit response between reaches: discharge at ``target`` for runoff of one that enters ``source`` in a single step.

        Discharge of any runoff is the sum of its convolutions with the responses of all reaches.

        Parameters
        ----------
        source, target
            Ids of reaches: one, or a list of them, each of which is a dimension of the result then. All pairs are answered; of a
            target that is not downstream of a source the response is zero.
        dt
            Step of runoff: seconds, a timedelta, or text like ``"1h"``; by default the network's attribute ``runoff_step``.
        n_steps
            How many steps the result has. By default as many as there are until all but 1e-15 of each response is over.
        scheme, substeps, sampling, lateral, hillslope
            As for `xroute.route`.

        Returns
        -------
        xarray.DataArray
            Response (source, target, time) [1], of those of the first two that are lists; ``time`` is the time since the step of
            runoff [timedelta64]. It is what routing such an impulse gives. Its sum over time is the share of water that gets to
            the target: one, unless rivers part or lose water on the way.

        Raises
        ------
        NetworkError
            For ids that the network does not have.
        TimeAxisError
            If the step is not known.
        ParameterError
            For impossible options, and for a response that takes more than four million steps, without ``n_steps``.

        Notes
        -----
        From one source an impulse is routed down what lies between it and the target. To one target from several sources the
        adjoint is computed, in one pass for all of them.

        Examples
        --------
        >>> import xroute
        >>> river = xroute.Network.from_links([1, 2], [2, 3], parameters={"delay": 7200.0}, attrs={"scheme": "pure_lag"})
        >>> found = river.response(1, 3, "1h")
        >>> found.values.tolist(), str(found.time.values[-1].astype("timedelta64[h]"))
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], '6 hours')
        """
        from xroute.responses import response

        return response(
            cast("Network", self), source, target, dt, n_steps=n_steps, scheme=scheme, substeps=substeps, sampling=sampling,
            lateral=lateral, hillslope=hillslope,
        )  # fmt: skip

    def travel_time(
        self,
        to: Any = None,
        dt: Any = None,
        *,
        scheme: str | None = None,
        substeps: int | Literal["auto"] | None = None,
        sampling: Sampling | None = None,
        lateral: Lateral | None = None,
        hillslope: Any = None,
    ) -> xr.Dataset:
        """Mean and spread of the time that water takes from each reach to its outlet, or to other reaches.

        Parameters
        ----------
        to
            Id of the reach whose discharge is the end of the way, or a list of ids, each by itself. By default the outlet of
            each reach, or its outlets, where its water goes to several.
        dt
            Step of runoff: seconds, a timedelta, or text like ``"1h"``; by default the network's attribute ``runoff_step``.
        scheme, substeps, sampling, lateral, hillslope
            As for `xroute.route`.

        Returns
        -------
        xarray.Dataset
            On ``reach``, and on ``target`` if ``to`` is a list:

            ``mean``
                Mean travel time of runoff of the reach [s]: from its step of runoff to the step of discharge in which it passes.
            ``spread``
                Standard deviation of that time [s]. NaN where responses dip below zero so far that they have none.
            ``share``
                Share of the runoff that gets there [1]. Mean and spread are of that share, and NaN where it is zero.

        Raises
        ------
        NetworkError, TimeAxisError, ParameterError
            As `response`.

        Notes
        -----
        They are the mean and the standard deviation of `response`, exactly, and no response is computed: along a way, means and
        variances of the filters of its reaches add up; where rivers part, they are mixed by the shares of the water. One
        pass from the outlets up is enough. With substeps the standard deviation depends on where in its step water arrives,
        which the filters' transfer functions tell, at one more pass for each two substeps. That moments of linear systems in a
        row add up is Nash's (1957) theorem.

        References
        ----------
        Nash, J. E. (1957). The form of the instantaneous unit hydrograph. IASH Publication, 45, 114-121.

        Examples
        --------
        Of linear reservoirs in a row, the means add up, and so do the squares of the spreads:

        >>> import xroute
        >>> river = xroute.Network.from_links([1, 2], [2, 3], parameters={"tau": 7200.0}, attrs={"scheme": "linear_storage"})
        >>> found = river.travel_time(dt="1h")
        >>> found["mean"].values.round(3)
        array([21600., 14400.,  7200.])
        >>> (found["spread"] ** 2 / found["spread"].sel(reach=3) ** 2).values.round(6)
        array([3., 2., 1.])
        """
        from xroute.travel_times import travel_time

        return travel_time(
            cast("Network", self), to, dt, scheme=scheme, substeps=substeps, sampling=sampling, lateral=lateral,
            hillslope=hillslope,
        )  # fmt: skip
