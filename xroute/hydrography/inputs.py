"""What estimates are made from: given or of the network, by reach, in SI units, checked, and lifted to a least value if asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some
from xroute.network import Network
from xroute.reach_values import by_reach
from xroute.settings import ESTIMATE, Estimate
from xroute.units import to_si
from xroute.wording import argument

__all__ = ["NOT_FOR", "Given", "Inputs", "Reader"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """Something that estimates are made from.

    Attributes
    ----------
    units
        SI units, which numbers are in.
    words
        What it is, in words.
    variables
        Variables of the network that it is where nothing is given; the first that is there.
    floor
        Argument that says the least value, and a usual one.
    """

    units: str
    words: str
    variables: tuple[str, ...] = ()
    floor: tuple[str, float] | None = None


QUANTITIES = {
    "length": Quantity("m", "length of the reach", ("length",), ("min_length", 10.0)),
    "celerity": Quantity("m s-1", "celerity of the flood wave", ("celerity",)),
    "x": Quantity("1", "Muskingum weight", ("x",)),
    "diffusivity": Quantity("m2 s-1", "diffusivity of the flood wave", ("diffusivity",)),
    "discharge": Quantity("m3 s-1", "mean discharge", ("mean_discharge",), ("min_discharge", 0.01)),
    "slope": Quantity("1", "slope of the bed", ("slope",), ("min_slope", 1e-5)),
    "width": Quantity("m", "width of the channel", ("width", "top_width")),
    "roughness": Quantity("", "Manning's roughness", ("roughness", "manning_n")),
}
"""By the argument that gives it."""


class Given(TypedDict, total=False):
    """Keywords of `xroute.estimate_parameters` that say what to estimate from: each a number, a variable's name, or values."""

    celerity: Any
    x: Any
    diffusivity: Any
    discharge: Any
    slope: Any
    width: Any
    roughness: Any
    min_length: float | None
    min_slope: float | None
    min_discharge: float | None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The keywords of `Given`, each with its default."""

    celerity: Any = None
    x: Any = None
    diffusivity: Any = None
    discharge: Any = None
    slope: Any = None
    width: Any = None
    roughness: Any = None
    min_length: float | None = None
    min_slope: float | None = None
    min_discharge: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_length", "min_slope", "min_discharge"):
            value = getattr(self, name)
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < np.inf):
                raise ParameterError(f"{name} is a positive number or None, not {value!r}")

    def refuse(self, names: Iterable[str], method: str) -> None:
        """Refuse what a method does not take.

        Raises
        ------
        ParameterError
            Naming it.
        """
        strange = [name for name in names if getattr(self, name) is not None]
        if strange:
            raise ParameterError(
                f"{argument('method', method)} has no use for {', '.join(argument(name) for name in strange)}: leave "
                f"{'it' if len(strange) == 1 else 'them'} out, or choose another method"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Keywords."""
        return tuple(f.name for f in fields(cls))


def _number(variable: xr.Variable, units: str) -> str:
    """A number that is the same on all reaches, with its units, or that there are several."""
    values = variable.values.ravel()
    if not values.size or values.dtype.kind not in "iuf" or not (values == values[0]).all():
        return "as given"
    units = str(variable.attrs.get("units", units))
    return f"{values[0]:g}" + f" {units}" * (units not in ("", "1"))


NOT_FOR: Mapping[Estimate, tuple[str, ...]] = dict(
    zip(
        ESTIMATE,
        (("discharge", "slope", "width", "roughness", "min_slope", "min_discharge"), ("celerity", "diffusivity")),
        strict=True,
    )
)
"""Keywords that a method has no use for."""


@dataclass
class Reader:
    """Reads quantities of some reaches of a network, and remembers what it read and what it lifted.

    Attributes
    ----------
    network, inputs
        Where they are read from.
    at : bool [reach]
        Reaches that they are wanted for.
    told, lifted
        In words: what was read, for attributes, and what a floor has lifted, for a warning.
    """

    network: Network
    inputs: Inputs
    at: NDArray[np.bool_]
    told: dict[str, str] = field(default_factory=dict)
    lifted: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        """Whether a quantity is given, or the network has it."""
        return getattr(self.inputs, name, None) is not None or self._own(name) is not None

    def _own(self, name: str) -> str | None:
        """The network's variable that is a quantity."""
        there = self.network.dataset.variables
        return next((variable for variable in QUANTITIES[name].variables if variable in there), None)

    def read(self, name: str, otherwise: str = "") -> Float:
        """A quantity [reach] in SI units, positive and finite on the reaches that it is wanted for.

        Parameters
        ----------
        name
            One of `QUANTITIES`.
        otherwise
            What else could be given, for the message that there is none.

        Raises
        ------
        ParameterError
            If there is none, or values are missing, zero, negative or infinite and no floor lifts them.
        """
        values, where = self._values(name, otherwise)
        values = self._floored(name, values)
        low = -np.inf if name == "x" else 0.0
        bad = self.at & ~(np.isfinite(values) & (values > low))
        if bad.any():
            floor = QUANTITIES[name].floor
            advice = (
                "Correct them"
                if floor is None or np.isinf(values[bad]).any()
                else f"Correct them, or take a least value for them, {argument(*floor)}"
            )
            raise ParameterError(
                f"{where} is missing, infinite{', zero or negative' * (low == 0)} on {int(bad.sum())} of {int(self.at.sum())} "
                f"reaches: {some(self.network.ids[bad])} (values {some(values[bad], 3)}). {advice}"
            )
        return np.where(self.at, values, 1.0)  # others are not used, and upset no formula

    def _values(self, name: str, otherwise: str) -> tuple[Float, str]:
        """Values [reach] in SI units as they are, and what they are called in messages."""
        quantity, given = QUANTITIES[name], getattr(self.inputs, name, None)
        dataset, ids = self.network.dataset, self.network.ids
        if given is None:
            given = self._own(name)
            if given is None:
                has = [n for n, v in dataset.variables.items() if v.dims == ("reach",) and v.dtype.kind in "iuf"]
                raise ParameterError(
                    f"{quantity.words} is not known: the network has no variable {quantity.variables[0]!r} (reach)"
                    + (f" [{quantity.units}]" if quantity.units else "")
                    + (
                        f"; give {argument(name)}"
                        if name in Inputs.names()
                        else "; assign it, network.assign(length=...)"
                    )
                    + f"{otherwise}. The numbers that it has on its reaches are {some(has)}"
                )
        if isinstance(given, str):
            if given not in dataset.variables:
                raise ParameterError(
                    f"{argument(name, given)}: the network has no such variable; it has {some(dataset.variables)}"
                )
            variable, where = dataset[given].variable, repr(given)
            self.told[name] = name if given == name else f"{name} ({given!r})"
        else:
            variable, where = by_reach(given, ids, name), f"the {quantity.words} ({argument(name)})"
            self.told[name] = f"{name} {_number(variable, quantity.units)}"
        if variable.dims not in ((), ("reach",)):
            raise ParameterError(f"{where} has dimensions {variable.dims}, not ('reach',)")
        if name == "roughness":
            values = self._roughness(variable, where)
        else:
            values = to_si(xr.DataArray(variable), quantity.units, where)
        return np.broadcast_to(values, ids.shape), where

    def _roughness(self, variable: xr.Variable, where: str) -> Float:
        """Manning's n as it stands, since its units are written in many ways; Strickler's coefficient is another thing."""
        if variable.dtype.kind not in "iuf":
            raise ParameterError(f"{where} is not a number but {variable.dtype}")
        values = np.asarray(variable.values, np.float64)
        high = np.broadcast_to(values, self.at.shape)[self.at]
        if (high > 1.0).any():
            raise ParameterError(
                f"{where} is Manning's n, some hundredths, and is up to {np.nanmax(high):g}: if it is Strickler's coefficient, "
                "give one divided by it"
            )
        return values

    def _floored(self, name: str, values: Float) -> Float:
        """Values, lifted to the least one where that was asked for."""
        floor = QUANTITIES[name].floor
        least = None if floor is None else getattr(self.inputs, floor[0])
        if floor is None or least is None:
            return values
        low = self.at & ~(values >= least * (1 - 1e-6))  # the least value itself may have passed through float32
        if low.any():
            n, missing = int(low.sum()), int(np.isnan(values[low]).sum())
            of_them = f", {missing} of them missing" if missing else ""
            self.lifted.append(
                f"{name} is below {argument(floor[0], least)} on {n} reaches{of_them}, and taken as that: "
                f"{some(self.network.ids[low], 3)}"
            )
            self.told[name] += f" (at least {least:g}, which {n} reaches were lifted to)"
        return np.where(low, least, values)
