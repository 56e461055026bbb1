"""Which names are public: what the reference shows, and whose docstrings tests/test_docstrings.py holds to its rules.

A name is public if it stands in the ``__all__`` of one of `ROOMS`, or is a method or property of a class that does. One that
stands in several rooms is known by the first of them: `xroute.remap`, not ``xroute.grids.remap``.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Iterator
from functools import cached_property
from typing import Any

ROOMS = (
    "xroute", "xroute.io", "xroute.io.cama_flood", "xroute.io.cf", "xroute.io.d8", "xroute.io.ddr",
    "xroute.io.geoglows", "xroute.io.mizuroute", "xroute.io.nextgen", "xroute.io.nwm", "xroute.io.rapid",
    "xroute.io.rapid2", "xroute.io.river_route", "xroute.io.teehr", "xroute.io.troute", "xroute.plotting",
    "xroute.tables", "xroute.datasets", "xroute.losses", "xroute.scores", "xroute.grids", "xroute.hydrography",
    "xroute.learning", "xroute.schemes", "xroute.bmi",
)  # fmt: skip
BESIDE = {
    "xroute.router": ("RouterState",),
    "xroute.engine.backends": ("Backend", "register_backend"),
    "xroute.io.reader": ("Reader", "ReaderOption", "Setup", "NothingToRead"),
    "xroute.io.writer": ("Writer", "Outgoing", "NothingToWrite"),
}
"""Names of other modules that those who extend xroute need, or that public functions give."""
NOT_PUBLIC = {"xroute.io.mizuroute.READER", "xroute.io.nwm.READER"}
"""Names that stand in a room for the house alone."""
HOOKS = {"extra_repr", "get_extra_state", "set_extra_state"}
"""Methods that PyTorch calls, and nobody else."""


CONTRACTS = ("bmipy",)
"""Packages whose abstract classes say of their methods what these take and give; one that fulfils them need not say it again."""


def names() -> dict[str, Any]:
    """Public objects by their names, each object once."""
    found: dict[str, Any] = {}
    known: set[int] = set()
    for room, of_room in (*((room, None) for room in ROOMS), *BESIDE.items()):
        module = importlib.import_module(room)
        for name in of_room or module.__all__:
            value = getattr(module, name)
            same = isinstance(value, type | types.FunctionType | types.ModuleType) and id(value) in known
            if not same and f"{room}.{name}" not in NOT_PUBLIC:
                found[f"{room}.{name}"] = value
                known.add(id(value))
    return found


def members(of: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class that are xroute's own, its parents' too, in the order in which they stand."""
    seen = {name for parent in of.__mro__ if parent.__module__.partition(".")[0] in CONTRACTS for name in vars(parent)}
    fields = {*getattr(of, "__dataclass_fields__", ())}  # one whose default is a function looks like a method
    for parent in reversed(of.__mro__):
        if not parent.__module__.startswith("xroute"):
            continue
        for name, value in vars(parent).items():
            is_member = isinstance(value, types.FunctionType | classmethod | staticmethod | property | cached_property)
            if not is_member or name.startswith("_") or name in HOOKS | seen | fields:
                continue
            seen.add(name)
            yield name, inspect.getattr_static(of, name)


def is_attribute(value: Any) -> bool:
    """Whether a member of a class is had without a call."""
    return isinstance(value, property | cached_property)


def classes() -> dict[str, dict[str, list[str]]]:
    """Methods and attributes of public classes by the names of these: what the template of a class's page lists."""
    found = {}
    for name, value in names().items():
        if inspect.isclass(value):
            own = list(members(value))
            found[name] = {
                "attributes": [n for n, v in own if is_attribute(v)],
                "methods": [n for n, v in own if not is_attribute(v)],
            }
    return found


def accessors() -> dict[str, str]:
    """Kind (callable, method, attribute) of what `DataArray.route` and `Dataset.river` offer, by name."""
    from xroute.accessors import RiverAccessor, RouteAccessor

    found = {"DataArray.route": "callable"}
    for name, of in (("DataArray.route", RouteAccessor), ("Dataset.river", RiverAccessor)):
        for member, value in members(of):
            found[f"{name}.{member}"] = "attribute" if is_attribute(value) else "method"
    return found
