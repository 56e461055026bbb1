"""What is shown of what is no network: accessors, Routers, models, calibrations."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import xarray as xr

from xroute.display.network import counted, headline, map_of
from xroute.display.panel import Panel, Table, guarded
from xroute.exceptions import some

if TYPE_CHECKING:
    from xroute.learning.parameter_model import ParameterModel
    from xroute.learning.result import Calibration
    from xroute.router import Router

__all__ = ["panel_of_accessor", "panel_of_calibration", "panel_of_model", "panel_of_router", "router_lines"]


def panel_of_accessor(accessor: type, name: str, headline: str) -> Panel:
    """What an accessor offers: its methods and properties, each with the first line of its documentation.

    Parameters
    ----------
    accessor
        Its class.
    name
        What it is called by, such as ``"Dataset.river"``.
    headline
        What it is, in a line.
    """
    questions, methods = [], []
    for member in sorted(n for n in dir(accessor) if not n.startswith("_")):
        found = inspect.getattr_static(accessor, member)
        said = first_line(found)
        if isinstance(found, property):
            questions.append((f".{member}", said))
        else:
            methods.append((f".{member}({_arguments(found)})", said))
    if callable(accessor.__call__) and "__call__" in vars(accessor):
        call = vars(accessor)["__call__"]
        methods.insert(0, (f"({_arguments(call)})", first_line(call)))
    tables = (Table("Values", tuple(questions), unfolded=True), Table("Methods", tuple(methods), unfolded=True))
    return Panel(name, headline, (), tuple(table for table in tables if table.rows))


def first_line(documented: Any) -> str:
    """First line of an object's documentation."""
    return (inspect.getdoc(documented) or "").partition("\n")[0].replace("`", "")


def _arguments(function: Any) -> str:
    """Arguments that must be given, and dots for those that may be."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return ", ".join([*needed, *(["..."] if len(needed) < len(parameters) else [])])


# ── modules of torch ──────────────────────────────────────────────────────────────────────────────────────────────────────


def router_lines(router: Router) -> Iterator[str]:
    """Lines that `print` shows of a Router before its modules."""
    yield headline(router.network)
    yield f"dt={router.dt:g} s, " + ", ".join(f"{name}={value!r}" for name, value in _modes(router))
    for scheme, name, units, how in _parameters(router):
        yield f"{scheme}: {name} [{units}] {how}"


def panel_of_router(router: Router) -> Panel:
    """All that is shown of a Router in a notebook."""
    facts = guarded(_facts_of_router(router))
    rows = tuple(_parameters(router))
    n = sum(p.numel() for p in router.parameters())
    title = f"{counted(n, 'value')} learned" if n else "nothing learned"
    tables = [Table("Parameters", tuple((name, units, how, scheme) for scheme, name, units, how in rows),
                    ("", "units", "", "scheme"), unfolded=True)]  # fmt: skip
    return Panel("xroute.Router", f"{headline(router.network)}; {title}", tuple(facts), tuple(tables), map_of(router.network))


def _modes(router: Router) -> Iterator[tuple[str, Any]]:
    yield "substeps", router.substeps
    yield "sampling", router.sampling
    yield "lateral", router.lateral
    if router.hillslope is not None:
        yield "hillslope", router.hillslope.name
    if router.known_ids is not None:
        yield "known", router.known_ids.size
    device = next((str(t.device) for t in (*router.parameters(), *router.buffers())), "cpu")
    yield "device", device


def _facts_of_router(router: Router) -> Iterator[tuple[str, str]]:
    yield "Step of runoff", f"{router.dt:g} s, in {counted(router.substeps, 'routing step')}"
    yield "Discharge is", f"sampling {router.sampling!r}, lateral inflow at {router.lateral!r}"
    if router.hillslope is not None:
        yield "Hillslopes", router.hillslope.name
    if router.known_ids is not None:
        yield "Known", f"discharge on {counted(router.known_ids.size, 'reach', 'es')}: {some(router.known_ids, 5)}"
    yield "Schemes", ", ".join(
        f"{scheme} on {counted(router.reaches_of(scheme).size, 'reach', 'es')}" for scheme in router.modules_by_scheme
    )
    yield "Computes", f"on {dict(_modes(router))['device']}; parameters, filters and states in float64"


def _parameters(router: Router) -> Iterator[tuple[str, str, str, str]]:
    """Scheme, name, units, and how it is learned, of each parameter."""
    for scheme, modules in router.modules_by_scheme.items():
        for module in modules:
            how = "fixed"
            if module.learned:
                groups, n = module.groups, int(module.raw.numel())
                by = "one for each reach" if groups is None else f"groups of {groups.name}"
                how = f"learned: {counted(n, 'factor' if module.form == 'scale' else 'value')}, {by}"
            yield scheme, module.parameter.name, module.parameter.units, how


def panel_of_model(model: ParameterModel) -> Panel:
    """All that is shown of a `ParameterModel` in a notebook."""
    n = sum(p.numel() for p in model.parameters())
    ready = "has seen no network yet"
    if model.is_prepared:
        ready = "prepared: " + ", ".join(dict.fromkeys(f"{form.name} of {form.scheme}" for form in model.forms))
    facts = (
        ("Attributes", ", ".join(model.attributes)),
        ("Parameters", ", ".join(model.parameter_names)),
        ("Hidden layers", ", ".join(map(str, model.hidden)) or "none: linear"),
        ("Weights", f"{n:,}, float64, on {model.layers.device}"),
        ("State", ready),
    )
    tables = []
    if model.standard:
        rows = tuple(
            (a.name, f"{a.mean:.6g}", f"{a.spread:.6g}", "" if a.floor is None else "of the logarithm")
            for a in model.standard
        )
        tables.append(Table("How attributes are standardised", rows, ("", "mean", "spread", "")))
    what = f"{counted(len(model.attributes), 'attribute')} to {counted(len(model.parameter_names), 'parameter')}"
    return Panel("xroute.ParameterModel", what, facts, tuple(tables))


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def panel_of_calibration(result: Calibration, *, picture: bool = False) -> Panel:
    """All that is shown of a `Calibration`."""
    facts = tuple(guarded(_facts_of_calibration(result)))
    parts = tuple(
        (f".{name}", _dataset(getattr(result, name)))
        for name in ("history", "scores", "curvature", "discharge", "before")
    )
    tables = (Table("Datasets", parts, unfolded=True),)
    drawn = map_of(result.network) if picture else ""
    return Panel("xroute.learning.Calibration", result.summary(), facts, tables, drawn)


def _facts_of_calibration(result: Calibration) -> Iterator[tuple[str, str]]:
    yield "Network", f"{headline(result.network)} (.network)"
    gauges = result.discharge["observed"]
    dim = next(d for d in gauges.dims if d != "time")
    yield "Gauges", f"{counted(gauges.sizes[dim], 'gauge')}: {some(gauges[dim].values, 5) if dim in gauges.coords else dim}"
    yield "Draw it", ".plot()"


def _dataset(dataset: xr.Dataset) -> str:
    sizes = ", ".join(f"{dim}: {size:,}" for dim, size in dataset.sizes.items())
    names = [str(name) for name in dataset.data_vars]
    more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
    return f"({sizes}) {', '.join(names[:8])}{more}"

