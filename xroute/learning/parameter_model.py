"""`ParameterModel`: from what reaches are like to the parameters of their schemes, for rivers with gauges and rivers without."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import xarray as xr

from xroute.caches import keep
from xroute.display.others import panel_of_model
from xroute.exceptions import ParameterError, some
from xroute.hillslope import hillslope_name
from xroute.learning.attributes import Attribute, standardise
from xroute.learning.forms import CELERITY, Form, check_celerity
from xroute.learning.layers import Layers, names_of, widths_of
from xroute.learning.learned_network import with_learned
from xroute.learning.model_files import ModelFiles
from xroute.learning.model_inputs import ModelInputs, forms_of, inputs_of, learned_names, schemes_with
from xroute.learning.request import CalibrationRequest, ObservedLike
from xroute.learning.result import Calibration
from xroute.network import Network
from xroute.network_files import as_network
from xroute.request import NetworkLike, keywords_of

__all__ = ["ParameterModel"]

Tensor = torch.Tensor
_options = cast(Any, keywords_of)  # whose type knows functions, and not methods


class ParameterModel(ModelFiles):
    """A network of neurons from attributes of reaches to the parameters of their routing schemes, always within their ranges.

    Trained on the gauges of one region it says what the parameters of another are. Travel times are ``length / celerity``, and
    what is learned is the celerity.

    Parameters
    ----------
    attributes
        Variables of the network (reach) to learn from, such as ``["slope", "length", "uparea"]``. Units are converted, those
        without negative values that are skewed go in as their logarithm, and all are standardised as they are on the network that
        the model is trained on first. Where one is missing (NaN) it counts as the mean, with a note that it is missing.
    parameters
        Names of the parameters to learn, of whatever schemes, and hillslopes, the network has.
    hidden
        Widths of the hidden layers; ``()`` for a linear model.
    physics
        Whether parameters that travel time is proportional to (`muskingum`'s k, a delay, a residence time, the celerity of
        `hayami`) follow from the length of the reach and a learned celerity; by default where the network has a ``length``.
        Others are learned as they are, between their bounds, or within a factor of about a hundred of where they start.
    celerity
        Least and greatest celerity [m s-1]. It starts at the geometric mean of the network's own, so that an untrained model
        gives the network one celerity.
    log
        Attributes to be known by their logarithm; by default those that are skewed.
    seed
        Of the first weights; they do not touch other random numbers.

    Raises
    ------
    ParameterError
        For names that are none or stand twice, an attribute that is to be learned itself, and widths and bounds that are none.

    Notes
    -----
    Weights, outputs and parameters are float64, and ``model.to("cuda")`` changes the device only. The model is linear in its
    standardised inputs plus hidden layers that start at nothing. For an own loop, ``model(network)`` gives the parameters, with
    gradients, as `xroute.Router` takes them: ``router(runoff, parameters=model(network))``.

    That parameters are learned from attributes through the routing follows Mizukami et al. (2017) and Bindas et al. (2024).

    References
    ----------
    Mizukami, N. et al. (2017). Towards seamless large-domain parameter estimation for hydrologic models. Water Resources
    Research, 53, 8020-8040.

    Bindas, T. et al. (2024). Improving river routing using a differentiable Muskingum-Cunge model and physics-informed machine
    learning. Water Resources Research, 60.

    Examples
    --------
    >>> import torch, xroute
    >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
    >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
    >>> router = xroute.Router(network, dt="1h")
    >>> discharge = router(torch.rand(12, 48), parameters=model(network))
    >>> discharge.square().mean().backward()
    >>> sorted(model(network))
    ['k', 'x']
    """

    def __init__(
        self,
        attributes: Sequence[str] | str,
        parameters: Sequence[str] | str = ("k", "x"),
        hidden: Sequence[int] | int = (32, 32),
        *,
        physics: bool | None = None,
        celerity: tuple[float, float] = CELERITY,
        log: Iterable[str] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.attributes: tuple[str, ...] = names_of("attributes", attributes)
        """Variables of networks that it learns from."""
        self.parameter_names: tuple[str, ...] = names_of("parameters", parameters)
        """Parameters that it learns."""
        both = sorted({*self.attributes} & {*self.parameter_names})
        if both:
            raise ParameterError(
                f"{some(both)} cannot be learned from itself: leave it out of the attributes, or assign a copy under another "
                f"name, network.assign({both[0]}_prior=network[{both[0]!r}])"
            )
        self.hidden: tuple[int, ...] = widths_of(hidden)
        """Widths of the hidden layers."""
        if physics not in (None, True, False):
            raise ParameterError(f"physics is True, False or None, not {physics!r}")
        self.physics = physics
        self.celerity = check_celerity(celerity)
        self.log = None if log is None else names_of("log", log, empty=True)
        strange = sorted({*(self.log or ())} - {*self.attributes})
        if strange:
            raise ParameterError(f"log names {some(strange)}, which are none of the attributes {some(self.attributes)}")
        self.standard: tuple[Attribute, ...] = ()
        """How attributes are standardised; empty before the first network."""
        self.forms: tuple[Form, ...] = ()
        """How each parameter of each scheme is made; empty before the first network."""
        self._state = uuid.uuid4().hex
        self.layers = Layers(2 * len(self.attributes), self.hidden, len(self.parameter_names), seed)

    # ── networks in ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_prepared(self) -> bool:
        """Whether it has seen a network, so that attributes are standardised and parameters have a start."""
        return bool(self.forms)

    def prepare(self, network: NetworkLike, scheme: str | None = None, hillslope: Any = None) -> ParameterModel:
        """Learn from a network how attributes are standardised and where parameters start; the first network does this by itself.

        Parameters
        ----------
        network
            The network to train on. It may lack the parameters: then they start at what is usual.
        scheme
            Scheme of all reaches, in place of the network's own.
        hillslope
            Hillslopes, in place of the network's own, whose parameters are learned if they are named.

        Returns
        -------
        ParameterModel
            Itself.

        Raises
        ------
        ParameterError
            For attributes that the network lacks, that are infinite or have no value, and lengths and parameters that are none.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> model.prepare(network).is_prepared
        True
        """
        network = as_network(network)
        places = schemes_with(network, self.parameter_names, scheme, hillslope_name(network, hillslope))
        standard = standardise(network, self.attributes, self.log)
        self.forms = forms_of(network, places, self.parameter_names, self.physics, self.celerity)
        self.standard = standard
        self._state = uuid.uuid4().hex
        return self

    def inputs(self, network: NetworkLike, scheme: str | None = None, hillslope: Any = None) -> ModelInputs:
        """A network as the model takes it, on the CPU: for loops in which `forward` is not to read the network again.

        Parameters
        ----------
        network, scheme, hillslope
            As of `prepare`; the first network is what the model is prepared with.

        Returns
        -------
        ModelInputs
            The network's standardised attributes, and where its schemes are.

        Raises
        ------
        ParameterError, UnitsError
            Naming attributes that are lacking or in other units, lengths that are none, and schemes that were not learned.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> inputs = model.inputs(network)
        >>> sorted(model(inputs))
        ['k', 'x']
        """
        network = as_network(network)
        if not self.is_prepared:
            self.prepare(network, scheme, hillslope)
        slopes = hillslope_name(network, hillslope)
        if (
            slopes is None and hillslope is None and "hillslope" not in network.attrs
        ):  # as on the network that was trained on
            slopes = next((form.scheme for form in self.forms if form.of_slopes), None)

        def make() -> ModelInputs:
            places = schemes_with(network, self.parameter_names, scheme, slopes, self.forms)
            return inputs_of(network, self.standard, self.forms, places)

        return keep(network, ("model inputs", self._state, scheme, slopes), make, most=2)

    def forward(self, network: NetworkLike | ModelInputs) -> dict[str, Tensor]:
        """Parameters of a network, with gradients.

        Parameters
        ----------
        network
            Network, or its `inputs`.

        Returns
        -------
        dict of tensor [reach]
            In SI units by name, float64, as `Router` takes them; NaN on reaches whose scheme does not have the parameter.

        Raises
        ------
        ParameterError, UnitsError
            As `inputs`.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> parameters = model(network)
        >>> tuple(parameters["k"].shape), parameters["k"].requires_grad
        ((12,), True)
        """
        inputs = network if isinstance(network, ModelInputs) else self.inputs(network)
        device = self.layers.device
        if inputs.features.device != device:
            inputs = inputs.to(device)
        z = self.layers(inputs.features)
        found: dict[str, Tensor] = {}
        for of in inputs.schemes:
            whole = of.at.numel() == inputs.n_reaches
            length = inputs.length if inputs.length is None or whole else inputs.length[of.at]
            values = dict(of.others)
            for name in sorted(
                of.forms, key=lambda name: abs(of.forms[name].power)
            ):  # travel time follows from the others
                own = z[:, self.parameter_names.index(name)]
                own = own if whole else own[of.at]
                values[name] = of.forms[name].values(own, of.scheme, length, values)
                if whole:
                    found[name] = values[name]
                else:
                    before = found.get(name)
                    before = torch.full_like(z[:, 0], torch.nan) if before is None else before
                    found[name] = before.index_put((of.at,), values[name])
        return {name: found[name] for name in learned_names(inputs)}

    def predict(self, network: NetworkLike, scheme: str | None = None, hillslope: Any = None) -> Network:
        """A network with the parameters that its attributes say.

        Parameters
        ----------
        network
            Any network that has the attributes; it may lack the parameters.
        scheme, hillslope
            Scheme of all reaches, and hillslopes, in place of the network's own. By default, of a network that names none, those
            that the model has learned.

        Returns
        -------
        Network
            The network with the learned parameters: in the units of its own variables, or SI; their attribute ``learned`` says
            what they come from.

        Raises
        ------
        ParameterError, UnitsError
            If the model has seen no network yet, and as `inputs`.

        Examples
        --------
        >>> import xroute
        >>> network = xroute.Network(xroute.datasets.scheidegger(3, 4))
        >>> model = xroute.ParameterModel(["length", "area"], parameters=["k", "x"], hidden=(8,))
        >>> elsewhere = xroute.datasets.scheidegger(5, 5, seed=1).drop_vars(["k", "x"])
        >>> sorted({"k", "x"} & {*model.prepare(network).predict(elsewhere).dataset.data_vars})
        ['k', 'x']
        """
        if not self.is_prepared:
            raise ParameterError("the model has seen no network yet: fit it, or load one that was trained")
        network = as_network(network)
        inputs = self.inputs(network, scheme, hillslope)
        with torch.no_grad():
            return with_learned(network, self(inputs), inputs, f"xroute.ParameterModel of {', '.join(self.attributes)}")

    # ── training ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @_options(CalibrationRequest)
    def fit(
        self, runoff: xr.DataArray, network: NetworkLike, observed: ObservedLike, request: CalibrationRequest
    ) -> Calibration:
        """Train the model so that a network with its parameters fits discharge at gauges, as `xroute.calibrate` does.

        Fitted again, also on another region, it goes on from where it is, with attributes standardised as on the first.

        Parameters
        ----------
        runoff, network, observed
            As of `xroute.calibrate`. The network may lack the parameters.
        optimizer, epochs, learning_rate
            ``"lbfgs"`` by default; with short windows ``"adam"``, at a rate of about 0.02, gets on with less work.
        penalty
            What is added to the loss: this times the mean squared distance of what the layers give from where they started.
        stages
            ``"gauge"``: sub-basin after sub-basin down the river, with what flows in from above held fixed, as of
            `xroute.calibrate`. What one stage has taught the next may unlearn, which is told if it did.
        parameters, groups, priors
            Not of use here: the model has its own.
        loss, gauge_weights, train, test, spinup, window, carry, patience, seed, device, progress, checkpoint, resume
            As of `xroute.calibrate`. A ``checkpoint`` is of this model as it is now: a killed run
            goes on by the same call of a model that was made in the same way.
        scheme, substeps, sampling, lateral, hillslope, weights, known, missing, extra, nan, dt, label, reach_dim, time_dim
            As of `xroute.calibrate`.
        observed_label, observed_step
            As of `xroute.calibrate`.

        Returns
        -------
        Calibration
            The network with the learned parameters on all of its reaches, the history of the training, and scores at the gauges.
            The model itself is trained.

        Raises
        ------
        XRouteError
            As `inputs` and `xroute.calibrate`.

        Examples
        --------
        >>> import xroute
        >>> truth = xroute.Network(xroute.datasets.scheidegger(4, 3))
        >>> runoff = xroute.datasets.storm_runoff(truth, 240, dtype=float)
        >>> gauges = runoff.route(truth).isel(reach=[9, 10, 11])
        >>> model = xroute.ParameterModel(["length", "area"], hidden=(4,))
        >>> result = model.fit(runoff, truth.assign(k=1.5 * truth["k"]), gauges, epochs=10, progress=False)
        >>> bool(result.history.loss[-1] < 0.1 * result.history.loss[0])
        True
        """
        from xroute.learning.model_fit import fit_model

        with torch.inference_mode(False), torch.enable_grad():  # whatever the caller is in
            return fit_model(self, runoff, network, observed, request)

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return f"{', '.join(self.attributes)} -> {', '.join(self.parameter_names)}"

    def _repr_html_(self) -> str:
        return panel_of_model(self).html()
