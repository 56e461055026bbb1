"""river-route 3's stepping of Muskingum reaches, for those who need its numbers.

It routes a river over a whole step of runoff at once, in steps of its own, and hands its discharge on at the end of the step of
runoff. What flows in is taken to change along a straight line from the end of one such step to the next, however it came about.
So all steps of a river within one of runoff are one filter, which keeps the mean travel time, and waves are flattened more than
with ``muskingum`` and as many substeps, in each of which discharge goes on downstream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xroute.schemes.base import Float, Parameter, Scheme
from xroute.schemes.builtin import BUILT_IN

if TYPE_CHECKING:
    import torch

__all__ = ["OWN_STEP", "RIVER_ROUTE_3"]

WHOLE = 1e-9
"""How much longer than a whole number of its own steps a step may be, in parts of one, and still be of that number."""
OWN_STEP = Parameter(
    "own_step", "s", low=0.0, low_open=True, long_name="longest step in which the reach is routed", usual=(600.0, 7200.0)
)
"""The parameter that `muskingum` has not: a step has the fewest steps of a reach's own that are no longer than this."""


def _filter(
    dt: float, n_taps: int, *, k: torch.Tensor, x: torch.Tensor, own_step: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Muskingum (McCarthy 1938) in n steps that are one, with inflow along a straight line.

    With q[j] = C0 I(j/n) + C1 I((j-1)/n) + p q[j-1] and I(s) = (1-s) I0 + s I1, the last outflow is p^n q[0] and the sum of
    p^(n-j) (C0 I(j/n) + C1 I((j-1)/n)) over j: sums G of p^i and A of i p^i, for i from 0 to n - 1, part it between I1 and I0.
    """
    import torch

    n = torch.clamp(torch.ceil(dt / own_step.detach() - WHOLE), min=1.0)
    step = dt / n
    over = 1 / (step + 2 * k * (1 - x))
    c1, passed = (step + 2 * k * x) * over, 2 * step * over  # passed is 1 - p, and C0 + C1
    p = 1 - passed
    last = p**n
    g = _sum_of_powers(passed, n)
    a = (p * _sum_of_powers(passed, n - 1) - (n - 1) * last) / passed
    before = (passed * a + c1 * g) / n  # C0 and C1 are not small where their sum, which a lake passes, is
    return torch.stack([passed * g - before, before], dim=1), last


def _sum_of_powers(passed: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    """Sum of ``(1 - passed) ** i`` for i from 0 to ``n - 1``, also where hardly anything is passed on."""
    import torch

    little = passed < 0.5
    small, large = torch.where(little, passed, 0.5), torch.where(little, 0.5, passed)
    return torch.where(little, -torch.expm1(n * torch.log1p(-small)) / small, (1 - (1 - large) ** n) / large)


def _of_reach(length: Float, celerity: Float, weight: Float) -> dict[str, Float]:
    k = length / celerity
    return {"k": k, "x": weight, "own_step": 2 * k * (1 - weight)}


RIVER_ROUTE_3 = Scheme(
    "river_route_3",
    (*BUILT_IN[0].parameters, OWN_STEP),
    _filter,
    summary="`muskingum` as river-route 3 steps it: each reach on its own over a whole step",
    travel_time="k",
    discretises="muskingum",
    of_reach=_of_reach,
)
"""The row of the scheme."""
