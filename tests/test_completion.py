"""What Tab offers in a notebook and in a shell, and what a name says of itself when asked: by the completers themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import xarray as xr
from click.shell_completion import ShellComplete

import xroute
from xroute.cli import main

RIVER = {
    "animate", "basin", "basins", "depth", "explore", "headwaters", "network", "outlets", "partition", "plot", "profile",
    "response", "sort", "strahler", "to_dataframe", "to_grid", "to_networkx", "to_reaches", "travel_time", "upstream",
}  # fmt: skip
LAZY = {"Router", "ParameterModel", "calibrate", "grid_weights", "losses", "tables", "io", "learning", "plotting"}
NETWORK = xroute.datasets.scheidegger(4, 3)
NAMES: dict[str, Any] = {
    "ds": NETWORK.dataset if isinstance(NETWORK, xroute.Network) else NETWORK,
    "da": xroute.datasets.storm_runoff(NETWORK, 4),
    "xroute": xroute,
}


def offered(line: str) -> set[str]:
    """Names that IPython's own engine, jedi, offers after a line."""
    jedi = pytest.importorskip("jedi")
    return {c.name for c in jedi.Interpreter(line, [NAMES]).complete() if not c.name.startswith("_")}


# ── the package ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_dir_lists_public_names_only_and_loads_nothing() -> None:
    code = (
        "import sys, xroute; names = dir(xroute); print(*names); "
        "print(*sorted({'torch', 'matplotlib', 'scores'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    names, loaded = (set(line.split()) for line in done.stdout.split("\n")[:2])
    assert loaded == set()
    assert names >= LAZY | {"Network", "route", "datasets", "__version__"}
    assert names - set(xroute.__all__) == {"io", "learning", "plotting"}
    assert not names & {"engine", "importlib", "accessors", "TYPE_CHECKING", "request", "_ROOMS"}


def test_every_listed_name_is_there() -> None:
    pytest.importorskip("torch")
    assert [name for name in dir(xroute) if not hasattr(xroute, name)] == []
    assert [name for name in dir(xroute.learning) if not hasattr(xroute.learning, name)] == []
    assert set(dir(xroute.learning)) == set(xroute.learning.__all__)


# ── notebooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tab_offers_what_the_accessors_have() -> None:
    assert offered("ds.river.") >= RIVER
    assert offered("da.route.") == {"hydrograph"}
    assert {"strahler"} == offered("ds.river.st")


def test_tab_offers_public_names_of_the_package() -> None:
    assert offered("xroute.") >= LAZY
    assert offered("xroute.") <= set(dir(xroute))


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("da.route(", {"network=", "scheme=", "initial_state=", "return_state=", "nan="}),
        ("da.route.hydrograph(", {"reaches=", "observed=", "quantiles=", "thresholds="}),
        ("ds.river.plot(", {"values=", "width=", "robust=", "gauges="}),
        ("ds.river.profile(", {"reach=", "discharge=", "kind="}),
    ],
)
def test_tab_offers_the_options_of_a_method(line: str, options: set[str]) -> None:
    assert offered(line) >= options


@pytest.mark.parametrize("name", sorted(RIVER - {"network"}))
def test_hovering_shows_documentation(name: str) -> None:
    method = getattr(type(NAMES["ds"].river), name)
    text = (method.fget if isinstance(method, property) else method).__doc__
    assert text and len(text.split("\n", 1)[0]) > 15 and "self" not in text.split("\n", 1)[0]


def test_ipython_shows_the_call_of_an_accessor() -> None:
    oinspect = pytest.importorskip("IPython.core.oinspect")
    shown = oinspect.Inspector(theme_name="nocolor").info(NAMES["da"].route, oname="da.route")
    said = f"{shown['docstring']} {shown['call_docstring']}"
    assert "Route runoff down a river network" in said and "initial_state" in said and "network" in shown["definition"]
    river = oinspect.Inspector(theme_name="nocolor").info(NAMES["ds"].river.plot, oname="ds.river.plot")
    assert river["docstring"].startswith("Draw a river network") and "robust" in river["definition"]


def test_completion_of_a_dataset_itself_is_not_disturbed() -> None:
    names = offered("ds.")
    assert {"river", "sel", "downstream"} <= names | set(dir(xr.Dataset)) and "river" in names


# ── shells ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def completions(words: list[str], incomplete: str = "") -> list[tuple[str, str]]:
    found = ShellComplete(main, {}, "xroute", "_XROUTE_COMPLETE").get_completions(words, incomplete)
    return [(item.type, str(item.value)) for item in found]


def test_a_shell_completes_commands_options_and_values() -> None:
    assert {"route", "plot", "calibrate", "info"} <= {name for _, name in completions([])}
    assert ("plain", "--sampling") in completions(["route"], "--sa")
    assert [name for _, name in completions(["route", "--sampling"])] == ["mean", "last", "start-mean"]


@pytest.mark.parametrize(
    "words",
    [["route"], ["route", "runoff.nc"], ["calibrate"], ["plot"], ["plot", "q.nc"], ["plot", "--runoff"], ["weights"], ["info"],
     ["info", "--runoff"], ["weights", "grid.nc"]],
)  # fmt: skip
def test_a_shell_completes_files(words: list[str]) -> None:
    assert completions(words, "ru") == [("file", "ru")]
