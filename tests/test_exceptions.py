"""Warnings point at the line that called xroute, however long the way to them was."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

import pytest

import xroute
from xroute.exceptions import warn


def line_after(function) -> int:
    return function.__code__.co_firstlineno + 1


def the_one(caught) -> tuple[str, int]:
    (warning,) = caught
    return warning.filename, warning.lineno


@pytest.fixture
def inside(monkeypatch):
    """Functions of a module that is as good as one of xroute's: one warns, the others call it."""
    code = "def near(): warn('dry')\ndef far(): near()\ndef back(call, *values): call(*values)\n"
    names = {"__name__": "xroute.tried", "warn": warn}
    exec(compile(code, "xroute/tried.py", "exec"), names)
    return names


def test_of_whoever_calls(inside):
    def near():
        inside["near"]()

    def far():
        inside["far"]()

    def itself():
        warn("dry")

    def through():
        inside["back"](near)  # by way of a function of the user's own, which is the nearest that called

    for call in (near, far, itself, through):
        with pytest.warns(UserWarning, match="^dry$") as caught:
            call()
        assert the_one(caught) == (__file__, line_after(near if call is through else call)), call.__name__


def test_of_whoever_imports_what_warns(inside, tmp_path: Path, monkeypatch):
    """Between the two lie frames of the import system, which the module warnings does not count."""
    (tmp_path / "tried.py").write_text("from xroute.exceptions import warn\nwarn('dry')\n")
    found = importlib.util.spec_from_file_location("xroute.tried", tmp_path / "tried.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "xroute.tried", module)

    def bring():
        found.loader.exec_module(module)

    def let_bring():
        inside["back"](found.loader.exec_module, module)

    for call in (bring, let_bring):
        with pytest.warns(UserWarning, match="^dry$") as caught:
            call()
        assert the_one(caught) == (__file__, line_after(call))


def test_of_their_kind_and_once_a_line(inside):
    def call(n: int):
        for _ in range(n):
            warn("dry", RuntimeWarning)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        call(3)
    assert [w.category for w in caught] == [RuntimeWarning]


def test_without_anyone_to_point_at():
    """Called by the interpreter itself, there is no line of a user's; it warns all the same."""
    code = "from xroute.exceptions import warn\nwarn('dry')\n"
    with pytest.warns(UserWarning, match="^dry$"):
        exec(compile(code, "xroute/tried.py", "exec"), {"__name__": "xroute.tried"})
    assert issubclass(xroute.XRouteError, ValueError)
