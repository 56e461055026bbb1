"""CONTRIBUTING.md does not rot: its code runs, and the rooms, files, targets and names that it speaks of are there."""

from __future__ import annotations

import ast
import importlib
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import xroute
from xroute.engine import backends
from xroute.schemes import SCHEMES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text("utf-8")
THINGS = ("scheme", "reader", "backend", "plot")


def section(title: str) -> str:
    """Text under a heading, of which there is one."""
    found = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert len(found) == 1, title
    return found[0]


def blocks(title: str) -> list[str]:
    """Code under a heading, each block with as many lines before it as in the page, so that errors name the page's own."""
    found = []
    for block in re.finditer(r"^```python\n(.*?)^```$", section(title), re.M | re.S):
        before = TEXT[: TEXT.index(block[0])].count("\n") + 1
        found.append("\n" * before + block[1])
    return found


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a page registers, draws and writes is gone at its end."""
    pytest.importorskip("netCDF4")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("Agg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    known = dict(SCHEMES)
    monkeypatch.setattr(backends, "_BACKENDS", dict(backends._BACKENDS))
    yield
    for name in set(SCHEMES) - set(known):
        del SCHEMES[name]
    pyplot.close("all")


@pytest.mark.parametrize("thing", THINGS)
def test_the_code_of_a_page_runs(thing, house):
    """All blocks one after another, as if in a module and its test; each page has something that can fail."""
    code = blocks(f"Add a {thing}")
    assert len(code) >= 2
    names = {"__name__": f"contributing_{thing}"}
    for block in code:
        exec(compile(block, PAGE, "exec"), names)
    tree = ast.parse("\n".join(code).replace("from __future__ import annotations\n", ""))
    checks = [n for n in ast.walk(tree) if isinstance(n, ast.Assert) or "assert_" in ast.unparse(n)]
    assert checks


def test_what_a_page_registers_routes(house):
    """The scheme and the backend of the pages together, and through the command."""
    names: dict[str, object] = {"__name__": "contributing"}
    for block in blocks("Add a scheme") + blocks("Add a backend"):
        exec(compile(block, PAGE, "exec"), names)
    network = xroute.datasets.scheidegger(4, 3, scheme="trapezoid")
    runoff = xroute.datasets.storm_runoff(network, 12, dtype=float)
    there = xroute.route(runoff, network, device="meta")
    assert float(abs(there - xroute.route(runoff, network, device="cpu")).max()) < 1e-12 * float(there.max())


@pytest.mark.parametrize("thing", THINGS)
def test_a_page_is_a_page_and_touches_three_files_at_most(thing):
    text = section(f"Add a {thing}")
    assert len(text.splitlines()) <= 130
    steps = re.findall(r"^\d\. `([^`]+)`", text, re.M)
    assert 1 <= len(steps) <= 3
    beside = [path for path in steps if not path.startswith("tests/")]
    assert len(beside) <= 3
    for path in steps:  # one that is still to be made has a name in capitals
        there = ROOT / path if "NAME" not in path else (ROOT / path.split("NAME")[0])
        assert there.exists(), path


def rooms(folder: Path) -> set[str]:
    """Modules and packages of a package."""
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def test_every_room_is_on_the_tour_once():
    tour = section("The house")
    named = re.findall(r"^\| (`[^|]+`) \|", tour, re.M) + [tour[tour.index("**The ground**") :]]
    count = Counter(name for row in named for name in re.findall(r"`([a-z_.]+)`", row) if name != "set_options")
    engine = {f"engine.{name}" for name in rooms(ROOT / "xroute" / "engine")}
    assert set(count) == rooms(ROOT / "xroute") - {"engine"} | engine
    assert not [name for name, n in count.items() if n > 1]


def test_names_of_the_page_are_names_of_the_house():
    """Every dotted name of xroute's, and every path."""
    for name in sorted(set(re.findall(r"\bxroute(?:\.\w+)+", TEXT))):
        parts = name.split(".")
        thing = xroute
        for k, part in enumerate(parts[1:], 2):
            if not hasattr(thing, part):
                importlib.import_module(".".join(parts[:k]))
            thing = getattr(thing, part)
    for path in sorted(set(re.findall(r"\b(?:xroute|tests|benchmarks|docs)/[\w/]+\.(?:py|md)\b", TEXT))):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_commands_of_the_page_are_there():
    made = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for target in re.findall(r"^make (\w+)", section("Set up and test"), re.M):
        assert target in made
    for path in re.findall(r"\bpython (?:-m pytest )?([\w/]+\.py)", section("Set up and test")):
        assert (ROOT / path).exists(), path
