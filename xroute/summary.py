"""What a run did, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

__all__ = ["Summary"]


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    n_reaches, n_steps, n_series, seconds
        What was routed, and for how long.
    water
        Terms of the budget of all of it, by name [m3] (`xroute.budget`), also of what an earlier call had routed; None where
        units do not tell.
    is_exact
        Whether discharge, of which the outflow is counted, is all the water that flowed: the last value of several is not.
    rounding
        Share of the water that rounding may leave unexplained.
    budget
        The budget by basin and member, if it was asked for.
    """

    n_reaches: int
    n_steps: int
    n_series: int
    seconds: float
    water: Mapping[str, float] | None = None
    is_exact: bool = True
    rounding: float = 1e-9
    budget: xr.Dataset | None = None

    def __repr__(self) -> str:
        return f"<xroute.Summary: {self}>"

    def __str__(self) -> str:
        """One line."""
        rate = self.n_reaches * self.n_steps * self.n_series / max(self.seconds, 1e-9)
        text = f"{self.n_reaches:,} reaches x {self.n_steps:,} steps"
        text += f" x {self.n_series:,} members" if self.n_series != 1 else ""
        text += "" if self.water is None else f", {self._water(self.water)}"
        return f"{text}, {self.seconds:.2f} s ({rate:.3g} reach-steps/s)"

    def _water(self, water: Mapping[str, float]) -> str:
        """Where the water went: of what there was and came, a part is out, and the rest on its way."""
        left, gain, before = (water[name] for name in ("left_by_fractions", "known_gain", "storage_start"))
        there_was = water["inflow"] + before + gain

        def share(volume: float) -> str:
            return f" ({volume / there_was:.1%})" if there_was > 0 else ""

        parts = [f"in {water['inflow']:.6g} m3"]
        parts += [f"stored {before:.6g} m3 at the start"] if before else []
        parts += [f"known discharge {'added' if gain > 0 else 'took'} {abs(gain):.6g} m3"] if gain else []
        out = water["outflow"] + left
        parts.append(f"{'out' if self.is_exact else 'out about'} {out:.6g} m3{share(out)}")
        parts += [f"{left:.6g} m3 of it where fractions sum to less than one"] if left else []
        parts.append(f"stored {water['storage_end']:.6g} m3{' at the end' if before else ''}{share(water['storage_end'])}")
        brought = sum(abs(water[name]) for name in ("inflow", "storage_start", "known_gain"))
        if self.is_exact and abs(water["residual"]) > self.rounding * brought:
            parts.append(f"{water['residual']:.6g} m3 unaccounted for ({water['residual'] / brought if brought else 1:.2g})")
        if water["negative_steps"]:
            volume = f" ({water['negative_volume']:.3g} m3)"
            parts.append(f"{int(water['negative_steps']):,} values of discharge negative{volume}")
        return ", ".join(parts)
