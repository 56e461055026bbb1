"""`Filter`: what a scheme makes of the parameters of all reaches, and what the engine applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xroute.engine.arrays import FilterArrays

if TYPE_CHECKING:
    import torch

__all__ = ["Filter", "Float"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Filter:
    """Filter of every reach: ``y[t] = sum_k taps[k] I[t-k] + gain r[t] + pole y[t-1]``.

    ``I`` is what flows into the reach, ``r`` its lateral inflow, ``y`` what flows out of it.

    Attributes
    ----------
    taps : float64 tensor [sum of K]
        Taps of all reaches, one reach after another [1].
    pointer : int64 [reach + 1]
        Positions in ``taps``: those of reach ``i`` are ``taps[pointer[i]:pointer[i + 1]]``; there is at least one.
    pole, gain : float64 tensor [reach]
        Feedback of the last outflow [1], and the weight of lateral inflow that joins over the whole interval.

    Examples
    --------
    >>> import numpy as np
    >>> from xroute.schemes import make_filter
    >>> filter = make_filter({"linear_storage": (np.arange(2), {"tau": np.array([3600.0, 7200.0])})}, 3600.0, 2)
    >>> filter.pole.numpy().round(3)
    array([0.5  , 0.667])
    """

    taps: torch.Tensor
    pointer: NDArray[np.int64]
    pole: torch.Tensor
    gain: torch.Tensor

    def __repr__(self) -> str:
        n = self.n_taps
        taps = f"{n.min()} to {n.max()}" if n.size else "no"
        poles = int((self.pole.detach() != 0).sum())
        return f"<xroute.schemes.Filter: {n.size} reaches of {taps} taps, {poles} with a pole, on {self.taps.device}>"

    @property
    def n_taps(self) -> NDArray[np.int64]:
        """Number of taps of each reach [reach]."""
        return np.diff(self.pointer)

    def arrays(self) -> FilterArrays:
        """``taps, pointer, pole, gain`` as numpy arrays.

        Returns
        -------
        FilterArrays
            A named tuple of them.

        Examples
        --------
        >>> import numpy as np
        >>> from xroute.schemes import make_filter
        >>> filter = make_filter({"linear_storage": (np.arange(2), {"tau": np.array([3600.0, 7200.0])})}, 3600.0, 2)
        >>> filter.arrays().pointer
        array([0, 1, 2])
        """
        taps, pole, gain = (t.detach().cpu().numpy() for t in (self.taps, self.pole, self.gain))
        return FilterArrays(taps, self.pointer, pole, gain)

    def take(self, reaches: NDArray[np.int64]) -> Filter:
        """Filter of some reaches.

        Parameters
        ----------
        reaches : int64 [reach]
            Positions of these.

        Returns
        -------
        Filter
            Theirs, in that order.

        Examples
        --------
        >>> import numpy as np
        >>> from xroute.schemes import make_filter
        >>> filter = make_filter({"linear_storage": (np.arange(2), {"tau": np.array([3600.0, 7200.0])})}, 3600.0, 2)
        >>> filter.take(np.array([1])).pole.numpy().round(3)
        array([0.667])
        """
        import torch

        n_taps = self.n_taps[reaches]
        pointer = np.concatenate([[0], np.cumsum(n_taps)])
        entry = np.repeat(self.pointer[reaches] - pointer[:-1], n_taps) + np.arange(pointer[-1])
        at = torch.from_numpy(np.asarray(reaches))
        return Filter(self.taps[torch.from_numpy(entry)], pointer, self.pole[at], self.gain[at])

    def storage(self, step: float, history: Float, outflow: Float) -> Float:
        """Water that each reach holds at the end of a step.

        Of what flowed in j steps ago, ``sum_{k>j} taps[k]`` has still to flow out, and of what flows out now, ``pole`` comes
        again in the next step, and so on: with ``rest[j]`` that sum, ``step (sum_j rest[j] I[t-j] + pole y[t]) / (1 - pole)``.

        Parameters
        ----------
        step : float
            Routing step [s].
        history : float64 [batch, sum of (K - 1)]
            Each reach's last inflows, newest first, one reach after another [m3 s-1].
        outflow : float64 [batch, reach]
            Its last outflow [m3 s-1].

        Returns
        -------
        float64 [batch, reach]
            Storage, in units of m3.

        Examples
        --------
        What flowed in with 5, 3, 2 and 1 m3/s in the last four hours is all there still, where the delay is as long:

        >>> import numpy as np
        >>> from xroute.schemes import make_filter
        >>> lag = make_filter({"pure_lag": (np.arange(1), {"delay": np.array([4 * 3600.0])})}, 3600.0, 1)
        >>> lag.storage(3600.0, np.array([[1.0, 2.0, 3.0, 5.0, 7.0]]), np.zeros((1, 1))) / 3600.0
        array([[11.]])
        """
        taps, pointer, pole, _ = self.arrays()
        first_lag = pointer[:-1] - np.arange(pole.size)
        rest = np.zeros(pole.size)
        water = pole * outflow
        for k in range(int(self.n_taps.max(initial=1)) - 1, 0, -1):
            at = np.flatnonzero(self.n_taps > k)
            rest[at] += taps[pointer[at] + k]
            water[:, at] += rest[at] * history[:, first_lag[at] + k - 1]
        return np.asarray(step * water / (1 - pole))
