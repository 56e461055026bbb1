"""Messages name arguments as whoever reads them gives them; the package knows no option of the command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import xroute
from xroute.cli import main
from xroute.cli.messages import FLAGS, NAMES, OPTIONS, PHRASES
from xroute.wording import argument, phrase, speaking

PACKAGE = Path(xroute.__file__).parent
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if "cli" not in path.relative_to(PACKAGE).parts]


def called(name: str) -> set[str]:
    """First arguments of the calls of a function of `xroute.wording` throughout the package."""
    return {
        node.args[0].value
        for path in LIBRARY
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        if node.args and isinstance(node.args[0], ast.Constant)
    }


def options(command: click.Command) -> Iterator[click.Option]:
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        yield from options(one)
    yield from (p for p in command.params if isinstance(p, click.Option))


def test_each_argument_of_a_message_is_an_option():
    """With a value where it takes one; and no name stands in the table that nobody uses."""
    found = {spelling: option for option in options(main) for spelling in option.opts}
    for name in called("argument"):
        alone, valued = OPTIONS.argument(name, None), OPTIONS.argument(name, "zero")
        assert alone in found, f"{name} is no option of any command: {alone}"
        assert valued == (alone if found[alone].is_flag else f"{alone} zero")
    assert NAMES.keys() <= called("argument")
    assert {f"--{flag}" for flag in FLAGS} <= found.keys()


def test_each_phrase_has_its_words():
    assert called("phrase") == PHRASES.keys()


def test_the_package_says_no_option():
    for path in LIBRARY:
        if path.name in ("startup.py", "wording.py"):  # which read the command line, and tell of it
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"(?<![\w-])--[a-z]", node.value), (path.name, node.lineno, node.value)


@pytest.mark.parametrize(
    ("name", "value", "python", "command"),
    [
        ("dt", None, "dt=", "--dt"),
        ("nan", "zero", 'nan="zero"', "--nan zero"),
        ("substeps", 4, "substeps=4", "--substeps 4"),
        ("missing_downstream", "outlet", 'missing_downstream="outlet"', "--missing-downstream outlet"),
        ("overwrite", True, "overwrite=True", "--overwrite"),
        ("mode", "w", 'mode="w"', "--overwrite"),
        ("reset", "day", 'reset="day"', "--deaccumulate day"),
    ],
)
def test_the_same_argument_in_both_tongues(name, value, python, command):
    assert argument(name, value) == python
    with speaking(OPTIONS):
        assert argument(name, value) == argument(name, value, python="something else") == command
    assert argument(name, value) == python


def test_an_error_within_leaves_python_to_the_next():
    with pytest.raises(KeyError), speaking(OPTIONS):
        raise KeyError
    assert argument("dt") == "dt=" and phrase("hour", ", or give hour=") == ", or give hour="
