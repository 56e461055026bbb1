"""README.md, CONTRIBUTING.md and the pages of docs/ do not rot: their Python and their commands run, and links lead somewhere.

What is run, and how, stands in `pages`; what a line for another program must satisfy, in `shell_lines`.
"""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shell_lines
from pages import ROOT, RUN, blocks, commands, run_page
from readme_files import write_readme_files
from shell_lines import NotProven, Shell

from xroute.options import set_options
from xroute.schemes.registry import SCHEMES

PAGES = sorted((ROOT / "docs").rglob("*.md"))
WANTED = ("netCDF4", "zarr", "geopandas", "matplotlib", "distributed")


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs").with_suffix("")))
def test_a_page_runs(page: Path, folder: Path) -> None:
    for module in WANTED:
        pytest.importorskip(module)
    run_page(page.read_text("utf-8"), f"docs/{page.name}")
    assert not any(path.suffix == ".md" for path in folder.iterdir())


def test_pages_say_what_they_need_no_file_for() -> None:
    """No page reads a file that lies about in the repository, nor one by an absolute path."""
    for page in [*PAGES, ROOT / "README.md"]:
        for block in blocks(page.read_text("utf-8")):
            if block.language in RUN:
                assert not re.search(r"[\"'\s](/|~/|\.\./|[A-Z]:\\)\w", block.text), f"{page.name}, line {block.line}"


def test_each_page_is_in_the_contents_of_its_folder() -> None:
    """A page that no table of contents names is found by nobody; Sphinx warns, and this says it without a build."""
    for page in PAGES:
        index = page.parent / "index.md" if page.stem != "index" else page.parent.parent / "index.md"
        name = page.stem if page.stem != "index" else f"{page.parent.name}/index"
        if page == ROOT / "docs" / "index.md":
            continue
        trees = [block.text.split() for block in blocks(index.read_text("utf-8")) if block.language == "{toctree}"]
        assert name in [word for tree in trees for word in tree], f"{page} is not in {index}"


# ── README and CONTRIBUTING ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_readme_runs_from_top_to_bottom(folder: Path) -> None:
    """All of its Python in one namespace and all of its commands, where the files that it names lie."""
    for module in WANTED:
        pytest.importorskip(module)
    write_readme_files(folder)
    assert run_page((ROOT / "README.md").read_text("utf-8"), "README.md") >= 5


def test_the_road_of_the_readme_is_short() -> None:
    """From what users have to discharge: six lines of Python, three commands."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (section,) = re.findall(r"^## From what you have\n(.*?)^## ", readme, re.M | re.S)
    lines = [line for block in blocks(section) if block.language == "python" for line in block.text.splitlines() if line]
    assert len([line for line in lines if not line.startswith("import ")]) <= 6
    assert sum(len(list(commands(block))) for block in blocks(section) if block.language == "console") <= 3


def test_contributing_is_run(folder: Path) -> None:
    """Its commands here; its Python, which stands under "Add a ...", in test_contributing.py."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    assert run_page(text, "CONTRIBUTING.md", skip=("python",)) >= 1
    elsewhere = "".join(re.findall(r"^## Add a \w+\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    here, there = ([b.text for b in blocks(t) if b.language == "python"] for t in (text, elsewhere))
    assert here == there


def inline_commands(page: str) -> set[str]:
    """Commands within sentences: `make docs`, `python benchmarks/cpu.py --small`, `xroute calibrate`."""
    spans = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^```.*?^```$", "", page, flags=re.S | re.M))
    spans = [" ".join(span.split()) for span in spans]
    return {span for span in spans if re.match(r"(make|python|pip|xroute|pytest) [a-z.\-]", span) and "..." not in span}


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md")], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_sentences_are_there(page: Path) -> None:
    for command in sorted(inline_commands(page.read_text("utf-8"))):
        words = shell_lines.words(command)
        try:
            if words[0] == "xroute":
                shell_lines.known_command(words[1:])
            else:
                Shell().prove(words)
        except NotProven as error:
            raise AssertionError(f"{page.name}: `{command}`: {error}") from None


# ── scripts and benchmarks ────────────────────────────────────────────────────────────────────────────────────────────


BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
SMALL = ["cpu --small", "weights --small", "remap --small", "scaling graph --small", "streams tiles --small", "gpu --list",
         "learning twins --small --seeds 1 --device cpu", "planet --small", "sizes --small --device cpu"]  # fmt: skip


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda script: script.stem)
def test_a_benchmark_says_how_it_is_run(script: Path) -> None:
    """The commands that a benchmark shows at its head are taken by it, and words that it does not know are not."""
    if script.stem == "gpu":
        pytest.importorskip("triton")
    if script.stem in ("weights", "remap"):
        pytest.importorskip("geopandas")
    text = script.read_text("utf-8").split('"""')[1]
    begins = r"(?:[A-Z_]+=\S+ )*(?:compute-sanitizer .*)?(?:\S*python benchmarks/|make bench)"
    shown = re.findall(rf"^ *({begins}[^\[\n]*?)(?=  |\n| \[)", text, re.M)
    assert shown, "no command at its head"
    for command in shown:
        Shell().prove(shell_lines.words(command))
    with pytest.raises(NotProven, match="does not take"):
        Shell().prove(["python", f"benchmarks/{script.name}", "--no-such-option"])


@pytest.mark.slow
@pytest.mark.parametrize("command", SMALL)
def test_a_benchmark_runs_small(command: str, tmp_path: Path) -> None:
    name, *words = command.split()
    pytest.importorskip({"weights": "geopandas", "gpu": "triton", "streams": "zarr"}.get(name, "dask"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *words], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert re.search(r"\d", done.stdout)


@pytest.mark.parametrize(("name", "files"), [("first_river", ["discharge.nc", "discharge.png"])])
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
        (f"{FENCE}bash\nls\n{FENCE}\n", "no program that tests/shell_lines.py knows"),
        (f"{FENCE}bash\n# so:\nmake test && make tset\n{FENCE}\n", "no target 'tset'"),
        (f"{FENCE}bash\nxroute --version\nxroute info \\\n  none.zarr\n{FENCE}\n", "exits with 1"),
        (f"{FENCE}{{note}}\ntext\n{FENCE}\n{FENCE}{FENCE}{{note}}\n{FENCE}python\nassert 0 == 1\n{FENCE}\n{FENCE}{FENCE}\n", ""),
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
        f"{FENCE}bash", "CI=1 make demo  # so", FENCE, "Text.", FENCE, "a table", FENCE,
        f"{FENCE}python", "from pathlib import Path", "from xroute.datasets import tutorial", "folder = Path()", FENCE,
        f"{FENCE}python", "tutorial()[0].to_netcdf('network.nc')", FENCE,
        f"{FENCE}python", ">>> sorted(path.name for path in folder.iterdir())", "['network.nc']", ">>> n = 7", FENCE,
        f"{FENCE}python", "assert n == 7", FENCE,
        f"{FENCE}console", "$ xroute info \\", "    network.nc  # as it is", "network.nc", "...muskingum...",
        "$ xroute info none.nc", "Error: ...none.nc...", FENCE,
    ])  # fmt: skip
    assert run_page(page, "page.md") == 6
    assert os.listdir() == ["network.nc"]
