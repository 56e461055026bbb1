"""Parameters of routing schemes, estimated: from lengths and a celerity, or from slopes, flows and Manning's formula.

A scheme says of itself what a reach of some length, celerity and attenuation has of it (`xroute.schemes.Scheme.of_reach`), so
that each estimate serves every scheme.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from xroute.exceptions import ParameterError, one_of, some, warn
from xroute.hydrography.inputs import NOT_FOR, Given, Inputs
from xroute.hydrography.making import lacking, with_estimates
from xroute.network import Network
from xroute.network_files import as_network
from xroute.parameters import schemes_of
from xroute.reach_values import note_estimates
from xroute.schemes import DEFAULT_SCHEME, SCHEMES
from xroute.settings import ESTIMATE, Estimate
from xroute.wording import argument, phrase

__all__ = ["estimate_parameters"]


def estimate_parameters(
    network: Any,
    scheme: str | None = None,
    *,
    method: Estimate = "celerity",
    overwrite: bool = False,
    **given: Unpack[Given],
) -> Network:
    """Estimate the parameters of a routing scheme that a network lacks, from what hydrographies know of its reaches.

    Parameters
    ----------
    network : xarray.Dataset, Network or path
        With ``length`` (reach), and what the method needs.
    scheme
        Scheme whose parameters are made. By default the network's own, by reach where it has one by reach, or
        ``"muskingum"`` where it names none.
    method : {"celerity", "manning"}
        ``"celerity"``: flood waves travel with the celerity given, so that the mean travel time of a reach, Muskingum's k, is
        length / celerity, and attenuate as Muskingum's with the weight x, or as the diffusivity says.

        ``"manning"``: the celerity is that of the kinematic wave in a wide rectangular channel with Manning's roughness,
        5/3 of the mean velocity (Lighthill and Whitham 1955), and attenuation that of the diffusive wave,
        ``D = Q / (2 B S)`` (Hayami 1951), which is Muskingum's with Cunge's (1969) ``x = 1/2 (1 - Q / (B S c L))``.
    overwrite
        Make parameters anew that the network has. By default it keeps them, and only those of its reaches that are NaN get one;
        what a file calls a placeholder is made anew.
    celerity : optional
        Of the flood wave [m s-1]: a number, the name of a variable of the network, or values by reach (an array in the network's
        order; a DataArray or Series is matched by id). By default the network's variable ``celerity``. Rivers have some 0.3
        to 3 m/s.
    x : optional
        Muskingum weight, 0 to 0.5; 0.2 by default, or with ``method="manning"`` Cunge's.
    diffusivity : optional
        Of the flood wave, in units of m2 s-1, in place of ``x``: ``x = 1/2 - D / (c L)``.
    discharge : (reach), optional
        Mean discharge [m3 s-1], given as celerity is; by default the variable ``mean_discharge``. Manning's method takes it
        as the flow at which waves travel: k is too long for floods if it is a mean flow, too short for low flow if it is
        bankfull.
    slope : optional
        Of the bed [1]; by default the variable ``slope``.
    width : optional
        Of the channel [m]; by default the variable ``width`` or ``top_width``, or where there is none ``7.2 Q^0.5``,
        downstream hydraulic geometry (Leopold and Maddock 1953) with the coefficients of Moody and Troutman (2002).
        These are a mean of rivers of all sizes and climates: the 95 % interval of the coefficient is 2.6 to 20.2
        (Andreadis et al. 2013).
    roughness : optional
        Manning's n [s m-1/3]; by default the variable ``roughness`` or ``manning_n``, or 0.035, natural streams in
        plains (Chow 1959).
    min_length, min_slope, min_discharge : optional
        Least length [m], slope and discharge [m3 s-1]: values that are lower, zero, negative or missing are taken as these, with
        a warning that counts them. Slopes of 1e-5 and discharges of 0.01 are usual. Without them such values are an error.

    Returns
    -------
    Network
        With the parameters as variables on ``reach``, in SI units (or in those that the variable had). Their attribute
        ``estimated``, and the Dataset's, says how they were made.

    Raises
    ------
    ParameterError
        What a method needs is not there; values are missing, zero, negative or infinite (the reaches are named); arguments that
        do not go together; or a scheme that does not say what a reach has of it (``of_reach``).
    AlignmentError
        Labelled values without the ids of the network.

    Warns
    -----
    UserWarning
        How many values were lifted to a least one; on how many reaches Cunge's x would be negative, and is 0: these are too short
        to attenuate as much as the wave; and if nothing was to be made.

    Notes
    -----
    Limits of ``"manning"``: one discharge for the year round, no floodplain, no backwater, no lakes, a channel much wider than
    deep. It is right in the mean of many reaches within a factor of two or so, and a start for calibration.

    References
    ----------
    Andreadis, K. M., Schumann, G. J.-P. and Pavelsky, T. (2013). A simple global river bankfull width and depth
    database. Water Resources Research, 49(10). Chow, V. T. (1959). Open-channel hydraulics. McGraw-Hill. Chow, V. T.,
    Maidment, D. R. and Mays, L. W. (1988). Applied hydrology. McGraw-Hill. Cunge, J. A. (1969). On the subject of a
    flood propagation computation method (Muskingum method). Journal of Hydraulic Research, 7(2). Hayami, S. (1951). On
    the propagation of flood waves. Bulletin of the Disaster Prevention Research Institute, Kyoto University, 1.
    Leopold, L. B. and Maddock, T. (1953). The hydraulic geometry of stream channels and some physiographic
    implications. USGS Professional Paper 252. Lighthill, M. J. and Whitham, G. B. (1955). On kinematic waves I.
    Proceedings of the Royal Society A, 229. Moody, J. A. and Troutman, B. M. (2002). Characterization of the spatial
    variability of channel morphology. Earth Surface Processes and Landforms, 27(12).

    Examples
    --------
    >>> import xarray as xr, xroute
    >>> rivers = xr.Dataset({"downstream": ("reach", [30, 30, 0])}, {"reach": [10, 20, 30]})
    >>> rivers["length"] = "reach", [3.6, 7.2, 1.8], {"units": "km"}
    >>> network = xroute.estimate_parameters(rivers, celerity=1.0)
    >>> network.dataset.k.values, network.attrs["scheme"]
    (array([3600., 7200., 1800.]), 'muskingum')
    >>> network.attrs["estimated"]
    "k, x: method 'celerity', of length, celerity 1 m s-1, x 0.2 (the default)"
    """
    unknown = [name for name in given if name not in Inputs.names()]
    if unknown:
        raise TypeError(f"estimate_parameters() got an unexpected keyword argument {unknown[0]!r}")
    one_of("method", method, ESTIMATE)
    inputs = Inputs(**given)
    if inputs.x is not None and inputs.diffusivity is not None:
        raise ParameterError(f"give {argument('x')} or {argument('diffusivity')}, not both: one follows from the other")
    inputs.refuse(NOT_FOR[method], method)
    network = as_network(network)
    schemes = _schemes(network, scheme)
    wanted = {name: lacking(network, SCHEMES[name], at, overwrite, inputs.min_length) for name, at in schemes.items()}
    if network.n_reaches and not any(wanted.values()):
        warn(_nothing(schemes))
    dataset = note_estimates(with_estimates(network, wanted, method, inputs))
    if scheme is not None or not ("scheme" in dataset.variables or "scheme" in dataset.attrs):
        dataset = dataset.drop_vars("scheme", errors="ignore").assign_attrs(scheme=next(iter(schemes)))
    return network._with(dataset)


_options = [p for p in inspect.signature(estimate_parameters).parameters.values() if p.kind is not p.VAR_KEYWORD]
estimate_parameters.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*_options, *inspect.signature(Inputs).parameters.values()], return_annotation=Network
)


def _schemes(network: Network, scheme: str | None) -> dict[str, NDArray[np.int64]]:
    """Reaches by scheme; a network that names none gets the default one."""
    dataset = network.dataset
    if scheme is not None and not isinstance(scheme, str):
        raise ParameterError(f"scheme is the name of a routing scheme or None, not {scheme!r}")
    if scheme is None and not ("scheme" in dataset.variables or "scheme" in dataset.attrs):
        scheme = DEFAULT_SCHEME
    return schemes_of(network, scheme)


def _nothing(schemes: Mapping[str, Any]) -> str:
    names = some(dict.fromkeys(p.name for name in schemes for p in SCHEMES[name].parameters))
    anew = phrase("estimate anew", "overwrite=True makes them anew")
    return (
        f"nothing is estimated: the network has parameters of {some(schemes)} ({names}) already, and keeps them; {anew}"
    )
