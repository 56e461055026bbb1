"""The house keeps to its limits: short modules and functions, no circle of imports, floors, each list of values in one place.

What it reads is source text, so that a fault can be planted in a copy of it, and the checks be seen to fail.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import xroute
from xroute import settings

ROOT = Path(xroute.__file__).parent
MODULE_LINES, FUNCTION_LINES, KERNEL_LINES, ARGUMENTS = 400, 60, 120, 12
KERNEL_MODULES = (
    "xroute.engine.cpu.kernels", "xroute.engine.cpu.abreast", "xroute.engine.cpu.vectors", "xroute.engine.cpu.adjoint_kernels",
    "xroute.engine.gpu.forward", "xroute.engine.gpu.adjoint", "xroute.engine.gpu.lanes",
    "xroute.engine.gpu.substeps", "xroute.engine.gpu.adjoint_substeps", "xroute.engine.gpu.adjoint_rows",
    "xroute.engine.gpu.adjoint_replay", "xroute.engine.gpu.forward_rows",
)  # fmt: skip
"""Modules of compiled code, which are as long as what they compute, and make numbers of options' values."""
COMPILED = ("kernel", "triton.jit", "triton.autotune", "intrinsic", "njit")
"""Decorators of compiled functions."""
TORCH_SCHEMAS = ("custom_op", "register_fake")
"""Decorators of functions whose arguments torch reads as the schema of an op, in which there are no tuples."""

FLOORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ground", ("exceptions", "version", "startup", "settings", "wording", "caches", "guards", "memory", "bars")),
    ("numbers", ("schemes", "engine", "options", "block_state", "block", "partition", "census", "earth")),
    ("labels", ("lanes", "ids", "unit_text", "units", "stamps", "spacing", "bounds", "time_dims", "times", "attrs",
                "grid_axes", "places")),
    ("files", ("state_form", "stores", "files", "fence", "intact", "identity", "checkpoint", "scratch")),
    ("network", ("topology", "graphs", "tables", "network_sources", "reach_ids", "reach_values", "directions",
                 "placeholders", "parameters", "recipe", "display", "hillslope", "filters", "responses", "travel_times",
                 "network_answers", "network_forms", "network", "network_files", "hydrography", "lakes")),
    ("runoff and states", ("labels", "accumulations", "unit_hydrographs", "watch", "volumes", "summary", "request", "state",
                           "grids", "known", "known_match", "cells", "moments", "step_match", "gauges", "long_tables", "series")),
    ("routing", ("run", "eager", "tasks", "chunking", "cluster", "chunked", "routing", "spinup", "groups", "bounded",
                 "grouped", "router_state", "router_hillslope", "router_network", "router_parameters", "router_labels",
                 "router_bridges", "router", "reads", "reader", "lane_states", "lane_run", "sinks", "budget", "streaming",
                 "tracing", "footprints")),
    ("learning", ("losses", "scores")),
    ("around it", ("exceedance", "io", "bmi", "plotting", "learning", "datasets", "accessors", "inspection")),
    ("package", ("__init__",)),
    ("command line", ("demo", "cli", "__main__")),
)
"""From the ground up, the rooms of the house: modules and packages. A room imports from its own floor and those under it."""
ENGINE_KNOWS_NOTHING_OF = ("xarray", "pandas", "dask", "pint", "cf_xarray", "zarr", "netCDF4")
OPTION_VALUES: Mapping[str, tuple[str, ...]] = {
    name: values for name, values in vars(settings).items() if name.isupper() and isinstance(values, tuple)
}
"""Values that options may have. They stand in `xroute.settings`, and nowhere else is there a list of them."""

Sources = Mapping[str, str]
"""Text of the modules by their dotted names; a package's own is that of its ``__init__``."""


@cache
def sources() -> Sources:
    return {dotted(path): path.read_text(encoding="utf-8") for path in sorted(ROOT.rglob("*.py"))}


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def decorated(function: ast.FunctionDef | ast.AsyncFunctionDef, names: tuple[str, ...]) -> bool:
    return any(ast.unparse(d).partition("(")[0].endswith(names) for d in function.decorator_list)


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def long_modules(code: Sources) -> list[str]:
    lines = {name: len(text.splitlines()) for name, text in code.items() if name not in KERNEL_MODULES}
    return [f"{name}: {n} lines" for name, n in lines.items() if n > MODULE_LINES]


def long_functions(code: Sources) -> list[str]:
    found = []
    for name, text in code.items():
        for function in functions(parsed(text)):
            body = function.body[1:] if ast.get_docstring(function) is not None else function.body
            n = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if n > (KERNEL_LINES if decorated(function, COMPILED) else FUNCTION_LINES):
                found.append(f"{name}.{function.name}: {n} lines")
    return found


def long_signatures(code: Sources) -> list[str]:
    found = []
    for name, text in code.items():
        for function in functions(parsed(text)):
            of = function.args
            n = len([*of.posonlyargs, *of.args, *of.kwonlyargs]) + (of.vararg is not None) + (of.kwarg is not None)
            if n > ARGUMENTS and not decorated(function, (*COMPILED, *TORCH_SCHEMAS)):
                found.append(f"{name}.{function.name}: {n} arguments")
    return found


# ── imports ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def imported(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Modules that are imported, with what is taken out of them; also within functions, but for the sake of types alone."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module), tuple(alias.name for alias in node.names)
        waiting += ast.iter_child_nodes(node)


@cache
def edges_of(name: str, text: str, names: frozenset[str]) -> frozenset[str]:
    """Modules of the package that one needs: those it names, and the packages that these are in, whose ``__init__`` runs."""
    found = set()
    for module, taken in imported(parsed(text)):
        found |= {f"{module}.{attribute}" if f"{module}.{attribute}" in names else module for attribute in taken or ("",)}
    parents = {".".join(module.split(".")[:depth]) for module in found for depth in range(2, module.count(".") + 1)}
    found |= {parent for parent in parents if not name.startswith(f"{parent}.")}
    return frozenset(found & names - {name})


def edges(code: Sources) -> dict[str, frozenset[str]]:
    return {name: edges_of(name, text, frozenset(code)) for name, text in code.items()}


def circles(code: Sources) -> list[str]:
    """Imports that go round: what is left when all that nobody still needs, or that needs nobody, is taken away."""
    graph = {name: set(needed) for name, needed in edges(code).items()}
    while True:
        needed = set().union(*graph.values())
        idle = {name for name in graph if not graph[name] or name not in needed}
        if not idle:
            return [f"{name} -> {other}" for name in graph for other in sorted(graph[name])]
        graph = {name: others - idle for name, others in graph.items() if name not in idle}
        if not graph:
            return []


def room(name: str) -> str:
    return (name.split(".") + ["__init__"])[1]


def climbing_imports(code: Sources) -> list[str]:
    floor = {room: level for level, (_, rooms) in enumerate(FLOORS) for room in rooms}
    lost = sorted({f"{room(name)} stands on no floor" for name in code if room(name) not in floor})
    return lost + [
        f"{name} ({FLOORS[floor[room(name)]][0]}) imports {other} ({FLOORS[floor[room(other)]][0]})"
        for name, needed in edges(code).items()
        for other in sorted(needed)
        if room(name) in floor and room(other) in floor and floor[room(other)] > floor[room(name)]
    ]


def foreign_to_the_engine(code: Sources) -> list[str]:
    return [
        f"{name} imports {module}"
        for name, text in code.items()
        if room(name) in ("engine", "schemes")
        for module, _ in imported(parsed(text))
        if module.partition(".")[0] in ENGINE_KNOWS_NOTHING_OF
    ]


# ── one place for each list of values ─────────────────────────────────────────────────────────────────────────────────


def lists_of_option_values(code: Sources) -> list[str]:
    """Lists, sets, tuples, keys and ``Literal[...]`` of values of one option, most of them and no others, but in the settings."""
    found = []
    for name, text in code.items():
        for node in ast.walk(parsed(text)) if name not in KERNEL_MODULES else ():
            entries = node.elts if isinstance(node, ast.List | ast.Tuple | ast.Set) else getattr(node, "keys", [])
            values = [e.value for e in entries if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            if len(values) < 2 or len(values) < len(entries):
                continue
            of = [n for n, some in OPTION_VALUES.items() if set(values) <= set(some) and len(values) > len(some) / 2]
            if of and name != settings.__name__:
                found.append(f"{name}, line {node.lineno}: {values} stand in settings.{' and settings.'.join(of)}")
    return found


CHECKS: tuple[Callable[[Sources], list[str]], ...] = (
    long_modules, long_functions, long_signatures, circles, climbing_imports, foreign_to_the_engine, lists_of_option_values,
)  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_house_keeps_to_its_limits(check: Callable[[Sources], list[str]]) -> None:
    assert check(sources()) == []


@pytest.mark.parametrize(
    ("check", "module", "planted"),
    [
        (long_modules, "xroute.attrs", "\n" * MODULE_LINES),
        (long_functions, "xroute.attrs", "def f():\n" + "    pass\n" * (FUNCTION_LINES + 1)),
        (long_functions, "xroute.attrs", "class C:\n    async def f(self):\n        '''Text.'''\n" + "        pass\n" * 61),
        (long_functions, "xroute.engine.gpu.lanes", "@triton.jit\ndef f():\n" + "    pass\n" * (KERNEL_LINES + 1)),
        (long_signatures, "xroute.attrs", "def f(" + ", ".join(f"a{i}" for i in range(ARGUMENTS)) + ", **options): ..."),
        (circles, "xroute.exceptions", "import xroute.ids"),
        (circles, "xroute.exceptions", "def f():\n    from xroute import ids"),
        (circles, "xroute.topology", "from xroute.network import Network"),
        (climbing_imports, "xroute.routing", "def f():\n    import xroute.cli.convert"),
        (climbing_imports, "xroute.engine.plan", "from xroute.times import seconds"),
        (climbing_imports, "xroute.a_new_room", ""),
        (foreign_to_the_engine, "xroute.engine.plan", "import xarray as xr"),
        (foreign_to_the_engine, "xroute.schemes.base", "def f():\n    from pandas import DataFrame"),
        (lists_of_option_values, "xroute.cli.route", 'SAMPLING = ["mean", "start-mean", "last"]'),
        (lists_of_option_values, "xroute.engine.plan", 'CODES = {"mean": 0, "start-mean": 1, "last": 2}'),
        (lists_of_option_values, "xroute.routing", 'from typing import Literal\nLateral = Literal["head", "outlet"]'),
    ],
)
def test_a_fault_is_seen(check: Callable[[Sources], list[str]], module: str, planted: str) -> None:
    code = sources()
    before = set(check(code))
    after = set(check({**code, module: f"{code.get(module, '')}\n{planted}\n"}))
    assert after - before


def test_what_is_exempt_is_there() -> None:
    assert [name for name in KERNEL_MODULES if name not in sources()] == []
    rooms = {room(name) for name in sources()}
    assert [name for _, floor in FLOORS for name in floor if name not in rooms] == []
    assert {"SAMPLING", "LATERAL", "NAN"} <= set(OPTION_VALUES)
