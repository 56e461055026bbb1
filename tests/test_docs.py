"""The pages of docs/ do not rot: their Python and their commands run and print what they are said to, and links lead somewhere.

A page is read from top to bottom, as a newcomer would type it, in an empty folder that is its own:

- ```python is run, all blocks of a page in one namespace; one with ``>>>`` is compared with what it prints.
- ```{code-cell} of a notebook (a page with a kernelspec) is run in the same way, and by `make docs`, which shows what comes out;
  a line ``!xroute ...`` in it is a command.
- ```console holds commands, ``$ xroute ...`` (a line that ends in a backslash goes on), and under each what it prints, if it is
  shown: ``...`` stands for any text. A command may fail only where the page shows its error.
- ```bash is not run: long benchmarks, and commands of other programs. ```text and blocks without a name are not code.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import xroute
from xroute.cli import main
from xroute.options import set_options
from xroute.schemes.registry import SCHEMES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
RUN, NOT_RUN = ("python", "{code-cell}", "console"), ("bash", "text", "")
SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    line: int  # in the page, of its first line of text


def blocks(page: str) -> list[Block]:
    found, begins = [], None
    lines = page.splitlines()
    for number, line in enumerate(lines, 1):
        fence = re.fullmatch(r"\s*```\s*(\S*)(?: .*)?", line)
        if fence and begins is None:
            begins = number, fence[1]
        elif fence and begins is not None:
            assert not fence[1], f"line {number}: a block begins within the block of line {begins[0]}"
            found.append(Block(begins[1], "\n".join(lines[begins[0] : number - 1]) + "\n", begins[0] + 1))
            begins = None
    assert begins is None, f"the block of line {begins and begins[0]} does not end"
    return found


def commands(block: Block) -> Iterator[tuple[int, list[str], str]]:
    """Line, words and shown output of each command of a console block."""
    command: list[str] = []
    shown: list[str] = []
    at, goes_on = block.line, False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if goes_on:
            command.append(line)
        elif line.startswith("$ "):
            if command:
                yield at, words(command, at), "\n".join(shown)
            at, command, shown = number, [line[2:]], []
        else:
            assert command, f"line {number}: output without a command ('$ xroute ...') before it"
            shown.append(line)
            continue
        goes_on = command[-1].rstrip().endswith("\\")
    assert command, f"line {block.line}: a console block without '$ xroute ...'"
    yield at, words(command, at), "\n".join(shown)


def words(lines: list[str], at: int) -> list[str]:
    found = shlex.split(" ".join(line.rstrip().removesuffix("\\") for line in lines), comments=True)
    assert found and found[0] == "xroute", f"line {at}: only commands of xroute are run; fence others as ```bash"
    return found[1:]


def matches(shown: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(shown.strip() + "\n", printed.strip() + "\n", SHOWN)


def run_python(block: Block, names: dict[str, Any], name: str) -> None:
    if re.search(r"^>>> ", block.text, re.M):
        test = doctest.DocTestParser().get_doctest(block.text, names, name, name, block.line - 1)
        said: list[str] = []
        runner = doctest.DocTestRunner(optionflags=SHOWN)
        failed = runner.run(test, out=said.append, clear_globs=False).failed
        names.update(test.globs)
        assert not failed, "".join(said)
        return
    # A cell's options (:tags:) are for the build; its commands are run as those of a console.
    text = re.sub(r"^:[\w-]+:.*$", "", block.text, flags=re.M) if block.language == "{code-cell}" else block.text
    text = re.sub(r"^!(xroute .*)$", lambda found: f"__command__({found[1]!r})", text, flags=re.M)
    names["__command__"] = lambda command: run_commands(Block("console", f"$ {command}\n", block.line), name)
    exec(compile("\n" * (block.line - 1) + text, name, "exec"), names)


def run_commands(block: Block, name: str) -> None:
    for line, given, shown in commands(block):
        result = CliRunner().invoke(main, given, prog_name="xroute")
        where = f"{name}, line {line}: xroute {shlex.join(given)}"
        assert result.exception is None or isinstance(result.exception, SystemExit), f"{where}\n{result.exception!r}"
        if shown:
            assert matches(shown, result.output), f"{where} prints\n{result.output}\nand not\n{shown}"
        else:
            assert result.exit_code == 0, f"{where} exits with {result.exit_code}:\n{result.output}"


def run_page(text: str, name: str) -> int:
    """Run a page in the current folder; how many blocks were run."""
    names: dict[str, Any] = {"__name__": "__main__"}
    n = 0
    for block in blocks(text):
        directive = block.language.startswith("{") and block.language not in RUN
        known = directive or block.language in RUN + NOT_RUN
        assert known, f"{name}, line {block.line}: is a block of {block.language!r} to be run?"
        if block.language in ("python", "{code-cell}"):
            run_python(block, names, name)
        elif block.language == "console":
            run_commands(block, name)
        n += block.language in RUN
    return n


class _NoClient:
    """Stands for Dask's where that was not imported."""

    _instances: tuple[Any, ...] = ()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in; pictures are drawn nowhere, and what a page sets or opens is put back."""
    with contextlib.suppress(ImportError):
        from matplotlib import pyplot

        pyplot.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as a notebook's kernel has it: a page may write a module and import it
    monkeypatch.setenv("COLUMNS", "120")
    argv, schemes = list(sys.argv), dict(SCHEMES)
    with set_options(), warnings.catch_warnings():
        warnings.simplefilter("default")
        yield tmp_path
    sys.argv[:] = argv
    SCHEMES.clear()
    SCHEMES.update(schemes)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for client in list(getattr(sys.modules.get("distributed"), "Client", _NoClient)._instances):
        client.close()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs(page: Path, folder: Path) -> None:
    for module in ("netCDF4", "zarr", "geopandas", "matplotlib", "distributed"):
        pytest.importorskip(module)
    run_page(page.read_text("utf-8"), f"docs/{page.name}")
    assert not any(path.suffix == ".md" for path in folder.iterdir())


def test_pages_say_what_they_need_no_file_for() -> None:
    """No page reads a file that lies about in the repository, nor one by an absolute path."""
    for page in PAGES:
        for block in blocks(page.read_text("utf-8")):
            if block.language in RUN:
                assert not re.search(r"[\"'\s](/|~/|\.\./|[A-Z]:\\)\w", block.text), f"{page.name}, line {block.line}"


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{page.name}: {target}"


# ── the README's road, and scripts ────────────────────────────────────────────────────────────────────────────────────


def test_the_road_of_the_readme_runs(folder: Path) -> None:
    """Its section on what users have, where the files that it names are those that `land_surface` writes."""
    for module in ("netCDF4", "zarr", "geopandas"):
        pytest.importorskip(module)
    readme = (ROOT / "README.md").read_text("utf-8")
    (section,) = re.findall(r"^## From what you have\n(.*?)^## ", readme, re.M | re.S)
    lines = [line for block in blocks(section) if block.language == "python" for line in block.text.splitlines() if line]
    assert len([line for line in lines if not line.startswith("import ")]) <= 6
    assert sum(len(list(commands(block))) for block in blocks(section) if block.language == "console") <= 3
    xroute.datasets.land_surface(folder, days=2)
    assert run_page(section, "README.md") == 2


@pytest.mark.parametrize(("name", "files"), [("quickstart", []), ("first_river", ["discharge.nc", "discharge.png"])])
def test_a_script_runs(
    name: str, files: list[str], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("netCDF4", "geopandas", "matplotlib") if files else ():
        pytest.importorskip(module)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *(["made"] if files else [])])
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "m3 s-1" in said
    for file in files:
        assert (folder / "made" / file).stat().st_size > 10_000 and str(Path("made") / file) in said


# ── that a fault is seen ──────────────────────────────────────────────────────────────────────────────────────────────

FENCE = "```"


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (f"{FENCE}python\nnothing_of_that_name\n{FENCE}\n", "nothing_of_that_name"),
        (f"{FENCE}python\na = 1\n{FENCE}\nText.\n{FENCE}python\nassert a == 2\n{FENCE}\n", ""),
        (f"{FENCE}python\n>>> 1 + 1\n3\n{FENCE}\n", "Expected"),
        (f"{FENCE}console\n$ xroute info none.zarr\n{FENCE}\n", "exits with 1"),
        (f"{FENCE}console\n$ xroute nothing\n{FENCE}\n", "exits with 2"),
        (f"{FENCE}console\n$ xroute --version\nxroute, version 0.0.0\n{FENCE}\n", "prints"),
        (f"{FENCE}console\n$ ls\n{FENCE}\n", "only commands of xroute"),
        (f"{FENCE}console\nxroute --version\n{FENCE}\n", "without a command"),
        (f"{FENCE}py\n1\n{FENCE}\n", "to be run"),
        (f"{FENCE}python\n1\n", "does not end"),
    ],
)
def test_a_fault_of_a_page_is_seen(page: str, message: str, folder: Path) -> None:
    with pytest.raises((AssertionError, NameError), match=re.escape(message) if message else None):
        run_page(page, "page.md")


def test_what_a_page_may_have(folder: Path) -> None:
    page = "\n".join([
        f"{FENCE}bash", "rm -rf nothing", FENCE, "Text.", FENCE, "a table", FENCE,
        f"{FENCE}python", "from pathlib import Path", "from xroute.datasets import tutorial", "folder = Path()", FENCE,
        f"{FENCE}python", "tutorial()[0].to_netcdf('network.nc')", FENCE,
        f"{FENCE}python", ">>> sorted(path.name for path in folder.iterdir())", "['network.nc']", ">>> n = 7", FENCE,
        f"{FENCE}python", "assert n == 7", FENCE,
        f"{FENCE}console", "$ xroute info \\", "    network.nc  # as it is", "network.nc", "...muskingum...",
        "$ xroute info none.nc", "Error: ...none.nc...", FENCE,
    ])  # fmt: skip
    assert run_page(page, "page.md") == 5
    assert os.listdir() == ["network.nc"]
