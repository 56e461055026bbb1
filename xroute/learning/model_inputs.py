"""What a `ParameterModel` knows of a network before it computes: attributes, lengths, schemes, and the form of each parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, some, warn
from xroute.hillslope import ORDINATES
from xroute.learning.attributes import Attribute, encode, lengths_of
from xroute.learning.forms import Form, is_of_slopes, start_of, time_power, usual_values
from xroute.network import Network
from xroute.parameters import read_scheme, schemes_of
from xroute.schemes import HILLSLOPES, SCHEMES, Scheme, all_reaches

__all__ = ["ModelInputs", "Places", "SchemeInputs", "forms_of", "inputs_of", "learned_names", "schemes_with"]

Tensor = torch.Tensor
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SchemeInputs:
    """Reaches of one scheme: what is learned of them, and what is not.

    Attributes
    ----------
    scheme
        Their scheme.
    at : int64 [its reaches]
        Their positions.
    forms
        Of the parameters that are learned, by name.
    others : float64 [its reaches] by name
        Those that are not, in SI units.
    """

    scheme: Scheme
    at: Tensor
    forms: Mapping[str, Form]
    others: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """A network as a `ParameterModel` takes it: tensors, made once, for as many calls as are wanted.

    Attributes
    ----------
    features : float64 [reach, 2 * attribute]
        Standardised attributes, zero where missing; then one where missing, else zero.
    length : float64 [reach] or None
        Lengths [m], where celerities are learned.
    schemes
        By scheme.
    """

    features: Tensor
    length: Tensor | None
    schemes: tuple[SchemeInputs, ...]

    @property
    def n_reaches(self) -> int:
        """Number of reaches."""
        return int(self.features.shape[0])

    def to(self, device: torch.device | str) -> ModelInputs:
        """The same on another device."""
        return replace(
            self,
            features=self.features.to(device),
            length=None if self.length is None else self.length.to(device),
            schemes=tuple(
                replace(s, at=s.at.to(device), others={n: v.to(device) for n, v in s.others.items()})
                for s in self.schemes
            ),
        )

    def take(self, reaches: Index) -> ModelInputs:
        """The same of some of the reaches, by their positions, in their order."""
        position = np.full(self.n_reaches, -1)
        position[reaches] = np.arange(reaches.size)
        schemes = []
        for of in self.schemes:
            new = position[of.at.cpu().numpy()]
            own = np.flatnonzero(new >= 0)
            own = own[np.argsort(new[own])]
            if own.size:
                there = torch.from_numpy(own).to(of.at.device)
                others = {name: value[there] for name, value in of.others.items()}
                schemes.append(replace(of, at=torch.from_numpy(new[own]).to(of.at.device), others=others))
        at = torch.from_numpy(np.asarray(reaches)).to(self.features.device)
        length = None if self.length is None else self.length[at]
        return ModelInputs(self.features[at], length, tuple(schemes))


Places = Sequence[tuple[Scheme, Index]]
"""Schemes of a network, each with the positions of its reaches; of hillslopes, all of them."""


def schemes_with(
    network: Network,
    parameters: Sequence[str],
    scheme: str | None,
    hillslope: str | None,
    forms: Sequence[Form] = (),
) -> Places:
    """Schemes of a network, which may have no parameters yet, that have some that are learned; and its hillslopes, if they do.

    Parameters
    ----------
    network, scheme
        As of `xroute.parameters.schemes_of`.
    parameters
        Names that are to be learned.
    hillslope
        Name of the hillslopes, as `xroute.hillslope.hillslope_name` gives it.
    forms
        How parameters were learned, on another network. What was learned there need not be here, but some of it; a network that
        names no scheme has that of these, if it is one.

    Raises
    ------
    ParameterError
        If the network names no scheme and none can be told, or parameters are none of its schemes'.
    """
    at = schemes_of(network, scheme or _told_scheme(network, parameters, forms))
    found = [(SCHEMES[name], reaches) for name, reaches in at.items()]
    slopes = _slopes(network, hillslope, parameters)
    if slopes is not None:
        found.append((slopes, all_reaches(network.n_reaches)))
    have = {p.name for one, _ in found for p in one.parameters}
    lacking = [name for name in parameters if name not in have]
    if lacking and (not forms or len(lacking) == len(parameters)):
        raise ParameterError(
            f"parameters names {some(lacking)}, but the network's schemes ({', '.join(sorted(at))}) have {some(sorted(have))}"
        )
    return [(one, reaches) for one, reaches in found if {p.name for p in one.parameters} & {*parameters}]


def _told_scheme(network: Network, parameters: Sequence[str], forms: Sequence[Form]) -> str | None:
    """Scheme of a network that names none: the one that was learned, or the only one that has these parameters."""
    if "scheme" in network.dataset.variables or "scheme" in network.attrs:
        return None
    known = {form.scheme for form in forms if not form.of_slopes}
    if len(known) == 1:
        return known.pop()
    fitting = [s for s in SCHEMES.values() if {*parameters} & {p.name for p in s.parameters}]
    most = max((len({*parameters} & {p.name for p in s.parameters}) for s in fitting), default=0)
    fitting = [s for s in fitting if len({*parameters} & {p.name for p in s.parameters}) == most]
    others = {s.instead for s in fitting}
    names = [s.name for s in fitting if s.name not in others]
    return names[0] if len(names) == 1 else None


def _slopes(network: Network, name: str | None, parameters: Sequence[str]) -> Scheme | None:
    """Form of the hillslopes that have parameters that are learned; the network has the others."""
    if name is None or name == ORDINATES:
        return None
    there = {*parameters} | {str(n) for n in network.dataset.variables}
    fitting = [f for f in HILLSLOPES[name] if {p.name for p in f.parameters} <= there]
    fitting = [f for f in fitting if {p.name for p in f.parameters} & {*parameters}]
    return max(fitting, key=lambda f: len(f.parameters), default=None)


def forms_of(
    network: Network,
    places: Places,
    parameters: Sequence[str],
    physics: bool | None,
    celerity: tuple[float, float],
) -> tuple[Form, ...]:
    """How each parameter of each scheme is learned, started at the mean of the network's own values.

    Parameters
    ----------
    network
        The network to train on.
    places
        Its schemes, as `schemes_with` gives them.
    parameters
        Names that are learned.
    physics
        Whether travel times are lengths over celerities; None for where the network has lengths.
    celerity
        Least and greatest celerity [m s-1].

    Raises
    ------
    ParameterError
        If lengths are wanted and the network has none, or they are none; and as `xroute.parameters.read_parameters`.
    """
    times = {scheme.name: _time_like(scheme, parameters) for scheme, _ in places}
    if physics and not any(times.values()):
        raise ParameterError(
            f"physics=True, but none of {some(parameters)} is a travel time or a celerity of the schemes "
            f"{', '.join(times)}: leave it out"
        )
    of_length = any(times.values()) and (physics or (physics is None and "length" in network))
    length = lengths_of(network) if of_length else None
    found = []
    for scheme, at in places:
        name = scheme.name
        learned = [p.name for p in scheme.parameters if p.name in parameters]
        own = [p.name for p in scheme.parameters if p.name in network or p.default is not None]
        values = read_scheme(_with_some(network, scheme, [n for n in learned if n not in own]), scheme, at)
        for of in learned:
            power = time_power(scheme, of) if length is not None and of == times[name] else 0
            there = length[at] if power and length is not None else None
            start, scale = start_of(scheme, of, values if of in own else None, there)
            if power:
                start = _start_celerity(start, celerity, name)
            found.append(Form(name, of, power, start, celerity, scale))
    return tuple(found)


def _time_like(scheme: Scheme, parameters: Sequence[str]) -> str | None:
    """The first of the parameters from which travel time follows."""
    if is_of_slopes(scheme):  # whose length is not that of the river
        return None
    return next((p.name for p in scheme.parameters if p.name in parameters and time_power(scheme, p.name)), None)


def _start_celerity(start: float, celerity: tuple[float, float], scheme: str) -> float:
    """A celerity to start from that is well inside of its bounds."""
    low, high = celerity
    margin = (high / low) ** 0.02
    if low * margin <= start <= high / margin:
        return start
    warn(
        f"{scheme}: the network's own parameters mean celerities of {start:.3g} m s-1, which is outside of or on the edge of "
        f"celerity={celerity} m s-1: learning starts inside. Are lengths and travel times in the units they say?"
    )
    return float(np.clip(start, low * margin, high / margin))


def _with_some(network: Network, scheme: Scheme, names: Sequence[str]) -> Network:
    """The network with some value, one that is allowed, for parameters that are learned: none is looked at."""
    made: dict[str, Any] = {
        p.name: ((), float(np.mean(usual_values(p))), {"units": p.units})
        for p in scheme.parameters if p.name in names
    }  # fmt: skip
    return network.assign(made) if made else network


def inputs_of(network: Network, attributes: Sequence[Attribute], forms: Sequence[Form], places: Places) -> ModelInputs:
    """A network as a model takes it that learned these forms.

    Raises
    ------
    ParameterError, UnitsError
        As `xroute.learning.attributes.encode`; for schemes of other forms, and for lengths and other parameters that are missing.
    """
    values, missing = encode(network, attributes)
    made = tuple(_of_scheme(network, scheme, at, forms) for scheme, at in places)
    length = lengths_of(network) if any(f.power for s in made for f in s.forms.values()) else None
    features = np.concatenate([values, missing.astype(np.float64)], axis=1)
    return ModelInputs(
        torch.from_numpy(features), None if length is None else torch.from_numpy(np.ascontiguousarray(length)), made
    )


def _of_scheme(network: Network, scheme: Scheme, at: Index, forms: Sequence[Form]) -> SchemeInputs:
    names = {p.name for p in scheme.parameters}
    wanted = {f.name for f in forms} & names
    own = {f.name: f for f in forms if f.scheme == scheme.name}
    for name in sorted(wanted - set(own)):
        fitting = [f for f in forms if f.name == name and f.serves(scheme)]
        if fitting:
            own[name] = fitting[0]
    if wanted - set(own):
        raise ParameterError(
            f"{at.size} reaches have the scheme {scheme.name}, whose parameters were not learned: the model was trained for "
            f"{some(sorted({f.scheme for f in forms}))} ({some(network.ids[at], 3)})"
        )
    values = read_scheme(_with_some(network, scheme, list(own)), scheme, at)
    others = {n: torch.from_numpy(np.array(v)) for n, v in values.items() if n not in own}
    return SchemeInputs(scheme, torch.from_numpy(np.array(at)), own, others)


def learned_names(inputs: ModelInputs) -> Iterator[str]:
    """Names of what is learned, each once."""
    yield from dict.fromkeys(name for s in inputs.schemes for name in s.forms)
