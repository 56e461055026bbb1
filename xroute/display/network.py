"""What is shown of a `Network`: what `repr` gives, and notebooks as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xroute.caches import keep
from xroute.display.panel import Panel, Table, cut, guarded
from xroute.display.sketch import sketch
from xroute.exceptions import ParameterError, some
from xroute.parameters import schemes_of
from xroute.placeholders import find_placeholders
from xroute.reach_values import CALIBRATED, ESTIMATED
from xroute.recipe import recipe_in_words
from xroute.schemes import SCHEMES

if TYPE_CHECKING:
    from xroute.network import Network

__all__ = ["counted", "headline", "map_of", "panel_of"]

LINKS = ("downstream", "upstream_reach", "downstream_reach", "fraction", "reach", "scheme")
"""Variables that say which reach drains to which, and which scheme each follows: they are shown as counts."""
MOST_OUTLETS, MOST_ORDERS, MOST_VARIABLES = 5, 12, 40


def headline(network: Network) -> str:
    """A network in a line: its counts.

    Examples
    --------
    >>> import xroute
    >>> from xroute.display.network import headline
    >>> headline(xroute.Network.from_links([1, 2], [2, 3]))
    '3 reaches, 1 outlet, longest path 3 reaches'
    """
    n_outlets = keep(network, ("number of outlets",), lambda: network.outlets.size)  # each run says how many
    return (
        f"{counted(network.n_reaches, 'reach', 'es', comma='')}, {counted(n_outlets, 'outlet', comma='')}, "
        f"longest path {counted(network.depth, 'reach', 'es', comma='')}"
    )


def counted(n: int, what: str, plural: str = "s", comma: str = ",") -> str:
    """A number of things, such as ``1 reach`` and ``2 reaches``."""
    return f"{n:{comma}} {what}{plural if n != 1 else ''}"


def panel_of(network: Network, *, picture: bool = False) -> Panel:
    """All that is shown of a network; a map only if there is a place for it."""
    tables = []
    try:
        schemes = schemes_of(network)
    except ParameterError:
        schemes = {}
    parameters, others = _variables(network, schemes)
    if parameters:
        tables.append(Table("Parameters", parameters, HEADS, unfolded=True))
    if others:
        tables.append(Table("Variables", others, HEADS))
    attributes = tuple((str(name), cut(str(value), 400)) for name, value in network.attrs.items() if name != "scheme")
    if attributes:
        tables.append(Table("Attributes", attributes))
    drawn = map_of(network) if picture else ""
    facts = (
        *guarded(_topology(network)), *guarded(_schemes(network, schemes)), *guarded(_area(network)),
        *guarded(_routed(network)), *guarded(_notes(network, schemes)),
    )  # fmt: skip
    return Panel("xroute.Network", headline(network), facts, tuple(tables), drawn)


def map_of(network: Network) -> str:
    """A small map, or nothing where none can be drawn."""
    return "".join(svg for _, svg in guarded(("map", sketch(network)) for _ in range(1)))


# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _topology(network: Network) -> Iterator[tuple[str, str]]:
    kind = "text ids" if network.ids.dtype.kind == "U" else f"{network.ids.dtype} ids"
    yield "Reaches", f"{network.n_reaches:,} ({counted(network.headwaters.size, 'headwater')}), {kind}"
    ways = np.bincount(network.links.upstream, minlength=network.n_reaches)
    parting = int((ways > 1).sum())
    yield "Links", f"{network.links.upstream.size:,}" + (f", rivers part below {counted(parting, 'reach', 'es')}" * bool(parting))
    if network.n_reaches:
        outlets = network.outlets
        largest = outlets[np.argsort(-network.n_upstream.to_numpy()[ways == 0], kind="stable")[:MOST_OUTLETS]]
        more = f", ... ({outlets.size:,} in all, the largest first)" if outlets.size > MOST_OUTLETS else ""
        yield "Outlets", some(largest, MOST_OUTLETS) + more
        orders, counts = np.unique(network.strahler.to_numpy(), return_counts=True)
        yield "Strahler orders", ", ".join(
            f"{order}: {count:,}" for order, count in zip(orders[-MOST_ORDERS:], counts[-MOST_ORDERS:], strict=True)
        )


def _schemes(network: Network, schemes: dict[str, NDArray[np.int64]]) -> Iterator[tuple[str, str]]:
    if not schemes:
        try:
            schemes_of(network)
            said = "none, for want of reaches"
        except ParameterError as error:
            said = str(error)
        if "scheme" in network.attrs or "scheme" in network:
            yield "Scheme", said
        else:
            several = "fit several" in said
            yield "Scheme", "none named: its variables fit several" if several else "none yet (it has no parameters of one)"
    elif len(schemes) == 1:
        name = next(iter(schemes))
        yield "Scheme", name + (f" ({SCHEMES[name].summary})" if SCHEMES[name].summary else "")
    else:
        yield "Schemes", ", ".join(f"{name} on {counted(at.size, 'reach', 'es')}" for name, at in schemes.items())


def _area(network: Network) -> Iterator[tuple[str, str]]:
    if "area" not in network or network["area"].dims != ("reach",):
        return
    area = np.asarray(network["area"].values, np.float64)
    known = np.isfinite(area)
    units = str(network["area"].attrs.get("units", "m2"))
    lacking = "" if known.all() else f", unknown on {counted(int((~known).sum()), 'reach', 'es')}"
    yield "Area", f"{_number(area[known].sum())} {units} in all{lacking}"


def _routed(network: Network) -> Iterator[tuple[str, str]]:
    recipe = recipe_in_words(network)
    if recipe is not None:
        yield "Routed with", recipe


def _notes(network: Network, schemes: dict[str, NDArray[np.int64]]) -> Iterator[tuple[str, str]]:
    if CALIBRATED in network and network[CALIBRATED].dims == ("reach",):
        n = int(np.asarray(network[CALIBRATED].values).astype(bool).sum())
        yield "Calibrated", f"on {n:,} of {counted(network.n_reaches, 'reach', 'es')}"
    dataset = network.dataset
    guesses = [one for one in find_placeholders(dataset, schemes) if one.kind != "constant"]
    for one in guesses:
        yield "Note", one.text
    if ESTIMATED in dataset.attrs and not guesses:
        yield "Note", f"estimated: {dataset.attrs[ESTIMATED]}"


# ── variables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HEADS = ("", "units", "from", "median", "to", "")


def _variables(network: Network, schemes: dict[str, NDArray[np.int64]]) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Rows of the parameters of the schemes, and of what else there is."""
    dataset, rows = network.dataset, []
    for scheme, at in schemes.items():
        for parameter in SCHEMES[scheme].parameters:
            of = f" ({scheme})" if len(schemes) > 1 else ""
            if parameter.name in dataset.variables:
                rows.append(_row(dataset[parameter.name], at, f"{parameter.name}{of}", parameter.units))
            elif parameter.default is not None:
                rows.append((f"{parameter.name}{of}", parameter.units, *[_number(parameter.default)] * 3, "the default"))
            else:
                rows.append((f"{parameter.name}{of}", parameter.units, "", "", "", "missing"))
    taken = {p.name for scheme in schemes for p in SCHEMES[scheme].parameters} | set(LINKS)
    names = [name for name in dataset.variables if name not in taken]
    others = [_row(dataset[name], None, str(name)) for name in names[:MOST_VARIABLES]]
    if len(names) > MOST_VARIABLES:
        others.append((f"... and {len(names) - MOST_VARIABLES:,} more", "", "", "", "", ""))
    return tuple(rows), tuple(others)


def _row(variable: xr.DataArray, at: Any, name: str, units: str = "") -> tuple[str, ...]:
    """Name, units, least, median and largest value, and what there is to say of a variable, in its own units."""
    units = str(variable.attrs.get("units", units))
    dims = "" if variable.dims == ("reach",) else f"on {', '.join(map(str, variable.dims))}" if variable.dims else "one for all"
    try:
        values = np.asarray(variable.values)
        values = values[at] if at is not None and variable.dims == ("reach",) else values.ravel()
        if values.dtype.kind in "mM":
            values = values[~np.isnat(values)]
            return name, units, *([str(v)[:19] for v in (values.min(), "", values.max())] if values.size else [""] * 3), dims
        if values.dtype.kind == "b":
            return name, units, "", "", "", _joined(f"true on {int(values.sum()):,} of {values.size:,}", dims)
        if values.dtype.kind not in "iuf":
            return name, units, "", "", "", _joined("text" if values.dtype.kind in "OUST" else str(values.dtype), dims)
        known = values[np.isfinite(values)]
        lacking = counted(values.size - known.size, "value") + " missing" if known.size < values.size else ""
        if not known.size:
            return name, units, "", "", "", _joined(lacking, dims)
        middle = np.partition(known, known.size // 2)[known.size // 2] if known.dtype.kind != "f" else np.median(known)
        return name, units, *(_number(v) for v in (known.min(), middle, known.max())), _joined(lacking, dims)
    except Exception:  # of a type that nobody foresaw: it is there, and that is said
        return name, units, "", "", "", _joined(str(variable.dtype), dims)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _number(value: Any) -> str:
    """A number in six digits, thousands apart."""
    return f"{value:,}" if isinstance(value, int | np.integer) else f"{float(value):,.6g}"
