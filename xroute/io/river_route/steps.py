"""How version 3 of river-route steps its rivers, each on its own, as a network here has it: `xroute.schemes.river_route`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.exceptions import some, warn
from xroute.io.river_route.config import Config
from xroute.network import Network
from xroute.parameters import schemes_of
from xroute.units import to_si

__all__ = ["SCHEMES", "as_muskingum", "steps_of", "warn_of_long_rivers", "with_own_steps"]

SCHEMES = ("muskingum", "river_route_3")
"""Schemes that are river-route's, of version 2 and 3."""
NEAR = 1e-9
Float = NDArray[np.float64]


def with_own_steps(network: xr.Dataset, step: float | None, config: Config | None) -> xr.Dataset:
    """A network of version 3 with the longest step of each reach, ``own_step`` [s].

    With a step for all, a river that is too short for it takes equal parts of it (``use_subcycles``, unless the configuration
    says no); without, each takes the longest that keeps its outflow from oscillating, 2k(1-x) (``dt_routing="auto"``).
    """
    k, x = to_si(network["k"], "s", "k"), to_si(network["x"], "1", "x")
    longest = 2 * k * (1 - x)
    own = longest if step is None else np.full(k.shape, step)
    if step is not None:
        own = _parted(step, k, x) if config is None or config.values.get("use_subcycles", True) else own
        warn_of_long_rivers(network, step, config)
    about = {"units": "s", "long_name": "longest step in which the reach is routed"}
    return network.assign(own_step=("reach", own, about)).assign_attrs(scheme="river_route_3")


def _parted(step: float, k: Float, x: Float) -> Float:
    """The step, or of rivers that are too short for it, the largest equal part of it that is not, if there is one."""
    with np.errstate(divide="ignore", invalid="ignore"):  # parameters that are out of range are refused when they are read
        part = step / np.maximum(1.0, np.ceil(step / (2 * k * (1 - x))))
        return np.where(part >= 2 * k * x, part, step)


def warn_of_long_rivers(network: xr.Dataset, step: float, config: Config | None) -> None:
    """Warn of rivers that river-route splits (``use_subreaches``), because they are too long for a step."""
    if config is not None and not config.values.get("use_subreaches", True):
        return
    k, x = to_si(network["k"], "s", "k"), to_si(network["x"], "1", "x")
    split = 2 * k * x > step
    if config is None or config.values.get("use_subcycles", True):
        n = np.ceil(step / (2 * k * (1 - x)))
        split |= (n > 1) & (step / np.maximum(n, 1.0) < 2 * k * x)
    if split.any():
        ids = network["reach"].to_numpy()[split]
        warn(
            f"river-route 3 splits {ids.size} rivers that are too long for a step of {step:g} s (use_subreaches), and here they "
            f"are routed whole, so that discharge differs a little there and below: {some(ids)}. A table that river-route's "
            "stabilize() has made has the parts as rivers of their own"
        )


def as_muskingum(river: Network) -> Network:
    """A network of `SCHEMES` as one of ``muskingum``, of which river-route has the parameters; others as they are."""
    if set(schemes_of(river)) <= set(SCHEMES):
        return Network(river.dataset.drop_vars("scheme", errors="ignore").assign_attrs(scheme="muskingum"))
    return river


def steps_of(network: Network) -> dict[str, Any] | None:
    """What a configuration of version 3 says so that rivers have their own steps; None where they are of another scheme.

    Steps that no configuration makes are none of river-route's, and are given up: ``dt_routing`` is ``"auto"`` then.
    """
    if set(schemes_of(network)) != {"river_route_3"}:
        return None
    own, k, x = (to_si(network.dataset[name], units, name) for name, units in (("own_step", "s"), ("k", "s"), ("x", "1")))
    step = float(own.max(initial=0.0))
    if own.size and step == round(step):
        if (own == step).all():
            return {"dt_routing": int(step), "use_subreaches": False, "use_subcycles": False}
        if np.allclose(own, _parted(step, k, x), rtol=NEAR, atol=0.0):
            return {"dt_routing": int(step), "use_subreaches": False, "use_subcycles": True}
    if not np.allclose(own, 2 * k * (1 - x), rtol=NEAR, atol=0.0):
        warn("the steps of reaches (own_step) are none that river-route makes: the configuration says dt_routing auto")
    return {"dt_routing": "auto", "use_subreaches": True, "use_subcycles": True}
