"""What people install and read before they do: the sdist tests itself, the wheel routes with the core alone, versions agree,
and what stands in workflows, forms and hooks is there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

import xroute

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LEFT_OUT = {"__pycache__", ".pytest_cache", "_build", "generated", ".hypothesis", ".ipynb_checkpoints"}
EARLY = {
    "torch", "triton", "matplotlib", "scores", "dask", "distributed", "sympy", "networkx", "pint", "cf_xarray", "zarr", "netCDF4",
    "h5netcdf", "h5py", "geopandas", "shapely", "pyproj", "pyogrio", "folium", "IPython", "ipywidgets", "tqdm",
    "scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats",
}  # fmt: skip
"""What `import xroute` must not load: each of them takes longer than all of xroute, or is an extra."""


def files(folder: str) -> set[str]:
    """Files of a folder of the repository, but for what running it leaves there."""
    found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not LEFT_OUT & set(path.parts) and path.suffix not in (".nbi", ".nbc")}


def python(code: str, *first: Path, **environment: str) -> str:
    """What a new process prints that looks for modules in ``first`` before anywhere else."""
    path = os.pathsep.join([*map(str, first), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=first[0] if first else ROOT,
        env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ── importing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_import_loads_nothing_heavy() -> None:
    """Less than two seconds by the clock, which is measured elsewhere; here, by what would cost more."""
    said = python("import sys, xroute; print(*sys.modules)", ROOT)
    assert {"xroute", "xarray"} <= set(said.split())
    assert EARLY & set(said.split()) == set()


# ── one version, one set of facts ───────────────────────────────────────────────────────────────────────────────────────


def releases() -> list[tuple[str, str]]:
    return re.findall(r"^## \[(\d[^\]]*)\] - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_the_version_is_one() -> None:
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    version, date = releases()[0]
    assert PROJECT["version"] == str(citation["version"]) == version
    assert str(citation["date-released"]) == date
    if importlib.metadata.version("xroute") == PROJECT["version"]:  # unless another one is installed here than is tested
        assert xroute.__version__ == version
    assert citation["license"] == PROJECT["license"] and "MIT License" in (ROOT / "LICENSE").read_text("utf-8")
    for key in ("cff-version", "message", "title", "authors", "type", "abstract", "repository-code"):
        assert citation[key], key


def test_the_changelog_is_one_that_tools_can_read() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[0] == "[Unreleased]"
    dated = [f"[{version}] - {date}" for version, date in releases()]
    assert headings[1:] == dated and dated
    for name in ("Unreleased", *(version for version, _ in releases())):
        assert re.search(rf"^\[{re.escape(name)}\]: https://\S+$", text, re.M), name
    for kind in re.findall(r"^### (.*)$", text, re.M):
        assert kind in ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_classifiers_and_addresses() -> None:
    classifiers = PROJECT["classifiers"]
    if (known := pytest.importorskip("trove_classifiers")) is not None:
        assert set(classifiers) <= set(known.classifiers)
    assert not [c for c in classifiers if c.startswith("License ::")]  # the licence is an SPDX expression, and so said once
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(classifiers)
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= set(PROJECT["urls"])
    assert all(url.startswith("https://") for url in PROJECT["urls"].values())


# ── the README ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def readme(title: str) -> str:
    found = re.findall(rf"^##+ {title}\n(.*?)(?=^## |\Z)", (ROOT / "README.md").read_text("utf-8"), re.M | re.S)
    assert len(found) == 1, title
    return found[0]


def figures(text: str) -> set[str]:
    """Numbers with a decimal point or of three digits and more, which are measured or counted."""
    return set(re.findall(r"(?<![\w.])\d+(?:,\d{3})+(?![\w])|(?<![\w.,])\d+\.\d+(?![\w.])|(?<![\w.,])\d{3,}(?![\w.,]\d)", text))


def unknown_figures(text: str) -> set[str]:
    return figures(text) - figures((ROOT / "docs" / "performance.md").read_text("utf-8"))


def test_figures_of_the_readme_are_those_that_were_measured() -> None:
    text = readme("Performance")
    assert len(figures(text)) > 8 and unknown_figures(text) == set()
    assert unknown_figures("it takes 0.123 s for 7,654,321 reaches") == {"0.123", "7,654,321"}  # one that was not
    assert "docs/performance.md" in text and "NVIDIA" in text and "Xeon" in text  # where, and on what


def test_the_readme_compares_with_peers_says_when_not_and_whom_to_cite() -> None:
    head, line, *rows = [row for row in readme("How it compares").splitlines() if row.startswith("|")]
    for peer in ("river-route", "RAPID2", "mizuRoute", "DiffRoute", "earthkit-hydro", "DDR"):
        assert peer in head
    assert len({row.count("|") for row in (head, line, *rows)}) == 1 and len(rows) >= 8
    better = [row.split("|")[3:-1] for row in rows]
    assert all(any("**" in row[column] for row in better) for column in (0, 1, 2, 4, 5))  # where they are ahead of us
    assert re.search(r"nonlinear", readme("When not to use it"), re.I) and "ydraulics" in readme("When not to use it")
    cite = readme("Cite")
    assert "CITATION.cff" in cite
    for name, year in (("McCarthy", 1938), ("Cunge", 1969), ("Nash", 1957), ("Hayami", 1951), ("David", 2011)):
        assert re.search(rf"^- {name}, .*\({year}\)\.", readme("References"), re.M), name
    for shown, target in re.findall(r"\[doi:([^\]]+)\]\(https://doi\.org/([^)]+)\)", readme("References")):
        assert shown == target and re.fullmatch(r"10\.\d{4,}/\S+", shown)


def test_the_picture_of_the_readme_is_there_and_small() -> None:
    (path,) = re.findall(r"^!\[[^\]]{20,}\]\(([^)]+)\)$", (ROOT / "README.md").read_text("utf-8"), re.M)
    picture = (ROOT / path).read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) <= 150_000


def test_the_first_screen_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    first = "\n".join(lines[:12])
    assert re.search(r"^make demo\b", first, re.M) and re.search(r"^make test\b", first, re.M)


# ── the paper, in the form of the Journal of Open Source Software ───────────────────────────────────────────────────────

SECTIONS = (
    "Summary", "Statement of need", "State of the field", "Software design", "Research impact statement", "AI usage disclosure",
    "Acknowledgements", "References",
)  # fmt: skip


def paper() -> tuple[dict[str, Any], str]:
    """Front matter and text."""
    yaml = pytest.importorskip("yaml")
    _, front, text = (ROOT / "paper" / "paper.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def test_the_paper_has_the_form_that_the_journal_asks_for() -> None:
    front, text = paper()
    assert front["title"] and "`" not in front["title"] and len(front["tags"]) >= 3
    assert re.fullmatch(r"\d{1,2} [A-Z][a-z]+ \d{4}", front["date"])
    indices = {str(place["index"]) for place in front["affiliations"]}
    assert all(author["name"] and set(str(author["affiliation"]).split(", ")) <= indices for author in front["authors"])
    assert (ROOT / "paper" / front["bibliography"]).is_file()
    assert tuple(re.findall(r"^# (.*)$", text, re.M)) == SECTIONS
    assert 750 <= len(text.split()) <= 1750
    parts = re.split(r"^# .*$", text, flags=re.M)[1:]
    assert all(part.strip() for part in parts[:-1]) and not parts[-1].strip()


def test_what_the_paper_cites_is_in_its_bibliography() -> None:
    text, bib = paper()[1], (ROOT / "paper" / "paper.bib").read_text("utf-8")
    known = re.findall(r"^@\w+\{(\w+),$", bib, re.M)
    assert len(set(known)) == len(known)
    assert set(re.findall(r"@(\w+)", text)) == set(known)  # and nothing is in it that is not cited
    for entry in re.findall(r"^@\w+\{.*?^\}$", bib, re.M | re.S):
        fields = dict(re.findall(r"^  (\w+) = \{(.*)\},$", entry, re.M))
        assert {"author", "title", "year"} <= set(fields), entry
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1234/none")) and re.fullmatch(r"\d{4}", fields["year"])
    assert len(known) == bib.count("\n@") + bib.startswith("@")


def test_the_paper_claims_only_what_was_measured() -> None:
    impact = paper()[1].partition("# Research impact statement")[2].partition("# AI usage")[0]
    assert len(figures(impact)) > 8 and unknown_figures(impact) == set()
    measured = (ROOT / "docs" / "performance.md").read_text("utf-8")
    for small in re.findall(r"\b\de-\d\d\b", impact):
        assert small in measured


# ── sdist and wheel ─────────────────────────────────────────────────────────────────────────────────────────────────────


def share_kernels(copy: Path) -> None:
    """Let an unpacked package have what is compiled here, which would take a minute; numba tells sources by size and time."""
    for made in (ROOT / "xroute").rglob("*.nb[ic]"):
        (copy / made.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy2(made, copy / made.relative_to(ROOT))
    for source in (ROOT / "xroute").rglob("*.py"):
        unpacked = copy / source.relative_to(ROOT)
        if unpacked.is_file() and unpacked.read_bytes() == source.read_bytes():
            shutil.copystat(source, unpacked)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An sdist, unpacked, and the wheel that is built from it, unpacked. Nothing is asked of the network."""
    for module in ("build", "hatchling", "twine"):
        pytest.importorskip(module)
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    command = [sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "sdist", filter="data")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    return folder / "sdist" / f"xroute-{PROJECT['version']}", folder / "wheel"


def metadata(wheel: Path) -> Message:
    return Parser().parsestr((wheel / f"xroute-{PROJECT['version']}.dist-info" / "METADATA").read_text("utf-8"))


@pytest.mark.slow
def test_the_wheel_has_the_package_and_no_more(built: tuple[Path, Path]) -> None:
    wheel = built[1]
    found = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    about = f"xroute-{PROJECT['version']}.dist-info/"
    assert {name for name in found if not name.startswith(about)} == files("xroute")
    assert "xroute/py.typed" in found and f"{about}licenses/LICENSE" in found
    assert (wheel / about / "entry_points.txt").read_text().split() == ["[console_scripts]", "xroute", "=", "xroute.cli:main"]
    said = metadata(wheel)
    assert said["License-Expression"] == "MIT" and said["Requires-Python"] == PROJECT["requires-python"]
    assert len(said.get_all("Project-URL")) == len(PROJECT["urls"])


@pytest.mark.slow
def test_links_of_the_readme_lead_somewhere_on_the_package_index(built: tuple[Path, Path]) -> None:
    """There is no folder beside it there."""
    said = metadata(built[1])
    assert said["Description-Content-Type"] == "text/markdown"
    text = re.sub(r"^```.*?^```$", "", said.get_payload(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(targets) > 10 and [target for target in targets if not re.match(r"https://|#", target)] == []
    here = re.sub(r"^```.*?^```$", "", (ROOT / "README.md").read_text("utf-8"), flags=re.M | re.S)
    for path in re.findall(r"\]\((?![a-z]+:|#)([^)\s]+)\)", here):
        assert any(target.endswith(f"/main/{path}") for target in targets), path


@pytest.mark.slow
def test_the_sdist_has_all_that_its_tests_need(built: tuple[Path, Path]) -> None:
    sdist = built[0]
    for folder in ("xroute", "tests", "docs", "examples", "benchmarks", "paper", ".ci", ".github"):
        assert [name for name in sorted(files(folder)) if not (sdist / name).is_file()] == [], folder
    for name in (
        "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "CITATION.cff",
        "Makefile", "pyproject.toml", "constraints.txt", "hatch_build.py", ".gitignore", ".pre-commit-config.yaml",
        ".readthedocs.yaml",
    ):  # fmt: skip
        assert (sdist / name).is_file(), name


@pytest.mark.slow
def test_the_sdist_tests_itself(built: tuple[Path, Path]) -> None:
    """Unpacked somewhere else, with no repository around it: tests of code, of text and of examples in docstrings."""
    sdist = built[0]
    share_kernels(sdist)
    some = [
        "tests/test_house.py", "tests/test_traps_ids_and_tables.py", "tests/test_packaging.py", "tests/test_links.py",
        "tests/test_contributing.py::test_every_room_is_on_the_tour_once", "xroute/caches.py", "xroute/lanes.py",
    ]  # fmt: skip
    path = os.pathsep.join([str(sdist), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", *some, "-m", "not slow"],
        cwd=sdist, env=os.environ | {"PYTHONPATH": path, "XROUTE_TEST_DATA": "none"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > 60


CORE_ALONE = """
import json, sys
for name in json.loads({absent!r}):
    sys.modules[name] = None  # importing it raises ImportError, as where it is not installed
import xroute
from xroute.datasets import tutorial
network, ds = tutorial()
small = xroute.Network(network).basin(782)
discharge, state = ds.runoff.sel(reach=small.ids).route(small, return_state=True)
print(xroute.__file__, xroute.__version__)
peak, last = float(discharge.max()), float(state["outflow"].max())
print(discharge.attrs["units"], int(discharge.isnull().sum()), peak > 100.0, last > 0.0)
for call in (lambda: xroute.route_to_zarr(ds.runoff, network, "q.zarr"), lambda: network.river.plot(network.area)):
    try:
        call()
    except ImportError as error:
        print(error)
"""


def needed(*names: str) -> set[str]:
    """Distributions that those named need, and what these need, without extras, on this machine."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found, waiting = set(), [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        try:
            waiting += map(Requirement, importlib.metadata.requires(name) or ())
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@pytest.mark.slow
def test_the_wheel_routes_with_the_core_alone(built: tuple[Path, Path]) -> None:
    """All that is installed here, and that the core does not ask for, is hidden from it."""
    from packaging.utils import canonicalize_name

    core = needed(*PROJECT["dependencies"]) | {"xroute"}
    absent = [
        module for module, owners in importlib.metadata.packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & core and module.isidentifier()
    ]  # fmt: skip
    assert {"netCDF4", "zarr", "dask", "matplotlib", "geopandas", "pyarrow", "pytest"} <= set(absent)
    wheel = built[1]
    share_kernels(wheel)
    where, answer, zarr, picture = python(CORE_ALONE.format(absent=json.dumps(absent)), wheel).splitlines()
    assert where == f"{wheel / 'xroute' / '__init__.py'} {PROJECT['version']}"
    assert answer == "m3 s-1 0 True True"
    assert 'pip install "xroute[io]"' in zarr and 'pip install "xroute[plot]"' in picture


# ── workflows, hooks, forms ─────────────────────────────────────────────────────────────────────────────────────────────


def parsed(path: str) -> Any:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def workflows() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / ".github" / "workflows").glob("*.yml"))


def test_ci_does_what_is_promised() -> None:
    """`.ci/run` on Linux, the CPU tests on macOS, for each Python that the classifiers name."""
    jobs = parsed(".github/workflows/ci.yml")["jobs"]
    named = sorted(c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c))
    for name, runner in (("linux", "ubuntu"), ("macos", "macos")):
        assert jobs[name]["runs-on"].startswith(runner)
        assert jobs[name]["strategy"]["matrix"]["python"] == named
        said = "\n".join(step.get("run", "") for step in jobs[name]["steps"])
        assert (".ci/run" in said) == (name == "linux") and ("make test" in said) == (name == "macos")
    assert "not gpu" in said and "not interpret" in said


@pytest.mark.parametrize("path", workflows())
def test_a_workflow_calls_what_is_there(path: str) -> None:
    workflow = parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for step in steps:
        if "uses" in step:  # pinned by major version, or by the branch that its makers name for that
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", step["uses"])
        for target in re.findall(r"\bmake ([a-z]+)", step.get("run", "")):
            assert target in targets
        for script in re.findall(r"\bbash (\S+)", step.get("run", "")):
            assert (ROOT / script).is_file()
        for test in re.findall(r"tests/\w+\.py", step.get("run", "")):
            assert (ROOT / test).is_file()
        for file in step.get("with", {}).get("cache-dependency-path", "").split():
            assert (ROOT / file).is_file()
    said = [workflow.get("env", {}), *(job.get("env", {}) for job in workflow["jobs"].values())]
    if "make test" in str(steps) or ".ci/run" in str(steps):
        assert any(environment.get("XROUTE_TEST_DATA") == "none" for environment in said)


def test_what_is_released_was_built_and_tried() -> None:
    jobs = parsed(".github/workflows/release.yml")["jobs"]
    assert jobs["publish"]["needs"] == "build" and jobs["publish"]["permissions"] == {"id-token": "write"}
    dist = re.findall(r"^dist:.*?(?=^\S)", (ROOT / "Makefile").read_text("utf-8"), re.M | re.S)[0]
    assert "-m build" in dist and "twine check --strict" in dist


def test_hooks_check_what_make_lint_checks() -> None:
    """With the same executables, and so the same versions."""
    hooks = [hook for repository in parsed(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    lint = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)[0]
    wanted = [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in lint.splitlines()]
    assert [hook["entry"] for hook in hooks] == wanted
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_forms_ask_what_is_needed() -> None:
    kinds = {"markdown", "textarea", "input", "dropdown", "checkboxes"}
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert {path.stem for path in forms} == {"bug", "question", "feature", "config"}
    for path in forms:
        form = parsed(path.relative_to(ROOT).as_posix())
        if path.stem == "config":
            assert all({"name", "url", "about"} == set(link) for link in form["contact_links"])
            continue
        assert form["name"] and form["description"] and form["labels"]
        assert {part["type"] for part in form["body"]} <= kinds
        ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
        assert ids and len(set(ids)) == len(ids)
        assert all(part["attributes"].get("label") for part in form["body"] if part["type"] != "markdown")


def test_the_documentation_is_built_from_what_is_there() -> None:
    config = parsed(".readthedocs.yaml")
    assert (ROOT / config["sphinx"]["configuration"]).is_file() and config["sphinx"]["fail_on_warning"] is True
