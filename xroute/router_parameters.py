"""What a `Router` knows of its reaches' parameters: those that are fixed and those that learn, by scheme.

They come from a network, and go back into one (`RouterParameters.to_network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from xroute.bounded import BoundedParameter, module_name
from xroute.exceptions import ParameterError, some
from xroute.grouped import bounded_parameter
from xroute.groups import Learned
from xroute.network import Network
from xroute.parameters import parameters_of
from xroute.router_hillslope import RouterHillslope, router_hillslope
from xroute.router_network import network_with
from xroute.router_state import check_ids, ids_as_tensor
from xroute.schemes import SCHEMES
from xroute.settings import RoutingSettings

__all__ = ["RouterParameters"]

Tensor = torch.Tensor


class RouterParameters(torch.nn.Module):
    """Parameters of a network's reaches as a module.

    Parameters
    ----------
    network : Network
        Network.
    scheme
        Scheme of all reaches, in place of the network's own; None for the latter.
    settings
        How runoff is stepped and sampled.
    hillslope
        As the caller of `Router` gave it.
    learned
        Which parameters are learned, and how.

    Raises
    ------
    ParameterError
        For names that no scheme has, and values to be learned that start on a bound.
    """

    def __init__(
        self, network: Network, scheme: str | None, settings: RoutingSettings, hillslope: Any,
        learned: Mapping[str, Learned],
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.scheme = network, scheme
        schemes = parameters_of(network, scheme).values
        self.settings = settings
        """How runoff is stepped and sampled."""
        assert settings.step is not None
        self.hillslope: RouterHillslope | None = router_hillslope(network, hillslope, settings.step, learned)
        """What runoff goes through before it joins its reach; None for nothing."""
        names = {name for _, values in schemes.values() for name in values}
        names |= set(() if self.hillslope is None else self.hillslope.modules_by_name)
        if set(learned) - names:
            raise ParameterError(
                f"learnable names {some(sorted(set(learned) - names))}, but the network's schemes "
                f"({', '.join(sorted(schemes))}) have {some(sorted(names))}"
            )
        self._at = {name: at for name, (at, _) in schemes.items()}
        self.values = torch.nn.ModuleDict()
        for name, (at, values) in schemes.items():
            of_scheme, ids = {p.name: p for p in SCHEMES[name].parameters}, self.ids[at]
            how = {p: learned[p].take(at) if p in learned else None for p in values}
            self.values[module_name(name)] = torch.nn.ModuleDict(
                {module_name(p): bounded_parameter(of_scheme[p], v, how[p], ids, name) for p, v in values.items()}
            )

    @property
    def ids(self) -> NDArray[Any]:
        """Ids of the reaches [reach], in the order of runoff, discharge and parameters."""
        return self.network.ids

    @property
    def n_reaches(self) -> int:
        """Number of reaches."""
        return self.network.n_reaches

    @property
    def dt(self) -> float:
        """Step of runoff [s]."""
        assert self.settings.step is not None
        return self.settings.step

    def reaches_of(self, scheme: str) -> NDArray[np.int64]:
        """Positions of the reaches of a scheme; of all reaches, for the hillslope's name.

        Parameters
        ----------
        scheme
            Name of a scheme of the network, or of its hillslope.

        Returns
        -------
        int64 [reach of the scheme]
            In the network's order.

        Examples
        --------
        >>> import xroute
        >>> xroute.Router(xroute.datasets.scheidegger(2, 2), dt="1h").reaches_of("muskingum")
        array([0, 1, 2, 3])
        """
        return self._at[scheme] if scheme in self._at else np.arange(self.n_reaches)

    @property
    def modules_by_scheme(self) -> dict[str, list[BoundedParameter]]:
        """Parameters of each scheme, and of the hillslope under its name, learned or not."""
        found = {name: list(self._modules_of(name).values()) for name in self._at}
        if self.hillslope is not None:
            found[self.hillslope.name] = list(self.hillslope.modules_by_name.values())
        return found

    @property
    def parameters_si(self) -> dict[str, Tensor]:
        """Parameters in SI units by name, float64 [reach]; NaN on reaches whose scheme does not have them."""
        found: dict[str, Tensor] = {}
        for scheme, at in self._at.items():
            for name, value in self._values(scheme).items():
                if name not in found:
                    found[name] = torch.full((self.n_reaches,), torch.nan, dtype=value.dtype, device=value.device)
                found[name] = found[name].index_put((torch.from_numpy(at).to(value.device),), value)
        for name, value in ({} if self.hillslope is None else self.hillslope.physical()).items():
            found.setdefault(name, value)
        return found

    @property
    def learned_parameters(self) -> dict[tuple[str, str], BoundedParameter]:
        """Parameters that are learned, by scheme (or hillslope) and name: their groups, forms and values."""
        found = {(scheme, name): value for scheme in self._at for name, value in self._modules_of(scheme).items()}
        if self.hillslope is not None:
            found |= {(self.hillslope.name, name): value for name, value in self.hillslope.modules_by_name.items()}
        return {key: value for key, value in found.items() if value.learned}

    @torch.no_grad()
    def to_network(self, parameters: Mapping[str, Tensor] | None = None) -> Network:
        """The network with the parameters as they are now: what was learned, back where it came from.

        Parameters
        ----------
        parameters : dict of tensor [reach], optional
            Values in SI units in place of the module's own, as `forward` takes them.

        Returns
        -------
        Network
            The same reaches and links. Each parameter that differs from the network's is written into its variable, in the units
            that it has there (else SI, with its long name) and with its attributes, but for those that call it an estimate or a
            placeholder; on reaches of other schemes values stay. All else is kept. Its scheme and hillslope are those of the
            Router; how runoff is stepped and sampled is not noted, as it is no property of reaches.

        Raises
        ------
        ParameterError
            For given parameters of no scheme, of another shape, or out of range.

        Examples
        --------
        >>> import torch, xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(2, 2))
        >>> router = xroute.Router(network, dt="1h", learnable={"k": "all"})
        >>> learned = router.to_network({"k": torch.full((4,), 7200.0, dtype=torch.float64)})
        >>> learned["k"].values
        array([7200., 7200., 7200., 7200.])
        """
        given = self._given(parameters)
        by_scheme = {
            scheme: (at, [(module.parameter, values[name]) for name, module in self._modules_of(scheme).items()])
            for scheme, (at, values) in self._by_scheme(given).items()
        }
        of_slopes = None
        if self.hillslope is not None:
            values = self.hillslope.current(given)
            of_slopes = [(module.parameter, values[name]) for name, module in self.hillslope.modules_by_name.items()]
        slopes = None if self.hillslope is None else self.hillslope.name
        return network_with(self.network, by_scheme, of_slopes, self.scheme, slopes)

    def get_extra_state(self) -> Tensor:
        """Ids of the reaches, scheme by scheme as their values are: int64 [reach], or of text, UTF-32 [reach, letter]."""
        return ids_as_tensor(self._ids_by_scheme)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse the values of other reaches; `load_state_dict` calls this before it loads any.

        Raises
        ------
        ParameterError
            Naming reaches that differ.
        """
        check_ids(state, self._ids_by_scheme)

    @property
    def _ids_by_scheme(self) -> NDArray[Any]:
        return np.concatenate([self.ids[at] for at in self._at.values()])

    def _modules_of(self, scheme: str) -> dict[str, BoundedParameter]:
        """Parameters of a scheme by name."""
        module = self.values[module_name(scheme)]
        assert isinstance(module, torch.nn.ModuleDict)
        return {value.parameter.name: value for value in module.values() if isinstance(value, BoundedParameter)}

    def _values(self, scheme: str) -> dict[str, Tensor]:
        """Parameters of a scheme in SI units, float64 [its reaches]."""
        return {name: value() for name, value in self._modules_of(scheme).items()}

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)  # compares the ids
        for scheme, at in self._at.items():  # all values are looked at before the first is taken
            for name, value in self._modules_of(scheme).items():
                prefix_of = f"{prefix}values.{module_name(scheme)}.{module_name(name)}."
                value.check_stored(state_dict, prefix_of, self.ids[at], scheme)

    def _given(self, given: Mapping[str, Tensor] | None) -> Mapping[str, Tensor]:
        """Parameters that a caller gives in place of the module's own."""
        if not isinstance(given, Mapping | None):
            raise ParameterError(f"parameters is a dict of tensors by name, not {type(given).__name__}")
        return given or {}

    def _by_scheme(self, given: Mapping[str, Tensor]) -> dict[str, tuple[NDArray[np.int64], dict[str, Tensor]]]:
        """Parameters of each scheme, as they are now or as they are given [reach], and the positions of its reaches."""
        n = self.n_reaches
        own = {scheme: self._values(scheme) for scheme in self._at}
        if not given:
            return {scheme: (at, own[scheme]) for scheme, at in self._at.items()}
        unknown = set(given) - {name for values in own.values() for name in values}
        unknown -= set(() if self.hillslope is None else self.hillslope.modules_by_name)
        if unknown:
            raise ParameterError(f"no scheme of this network has the parameters {some(sorted(unknown))}")
        for name, value in given.items():
            if not isinstance(value, Tensor):
                raise ParameterError(
                    f"{name!r} is {type(value).__name__}, not a tensor [reach]: torch.from_numpy makes one of an array, and "
                    f"torch.full(({n},), value) of one value for all reaches"
                )
            if value.shape != (n,):
                raise ParameterError(f"{name!r} has shape {tuple(value.shape)}, not ({n},): one value a reach")
        found = {}
        for scheme, at in self._at.items():
            values = own[scheme]
            for name, module in self._modules_of(scheme).items():
                if name in given:
                    device = values[name].device
                    value = given[name].to(device, torch.float64)[torch.from_numpy(at).to(device)]
                    if not module.parameter.allows(value.detach()).all():
                        module.parameter.check(value.detach().cpu().numpy(), self.ids[at], scheme)
                    values[name] = value
            found[scheme] = at, values
        return found
