"""Every public name stands in the reference, and its docstring says what a user must know, by mechanical rules.

What is public, `docs/_ext/public.py` says. The rules are functions from a name and its documentation to faults, so that a fault
can be planted in a docstring and be seen.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import public  # noqa: E402 (the folder is on the path now)

PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs" / "reference").glob("*.md"))}


# ── the reference ─────────────────────────────────────────────────────────────────────────────────────────────────────


def documented(page: str) -> list[str]:
    """Full names of what a page of the reference documents: entries of its autosummaries, data and modules."""
    found, module, within = [], "", False
    for line in page.splitlines():
        directive = re.match(r"\.\. (currentmodule|module|py:data|autosummary)::\s*(\S*)", line)
        if directive:
            kind, name = directive.groups()
            within = kind == "autosummary"
            module = name if kind in ("currentmodule", "module") else module
            found += [name] if kind == "module" else [f"{module}.{name}"] if kind == "py:data" else []
        elif within and re.fullmatch(r"   [\w.]+", line):
            found.append(f"{module}.{line.strip()}")
        elif line and not line.startswith(" "):
            within = False
    return found


def missing_and_strange(pages: dict[str, str]) -> list[str]:
    wanted = {*public.names(), *(f"xarray.{name}" for name in public.accessors())}
    found = [name for page in pages.values() for name in documented(page)]
    rooms = {*public.ROOMS, "xroute.hydrography"}  # modules, which a page may introduce
    return [
        *(f"{name} stands on no page of docs/reference" for name in sorted(wanted - {*found})),
        *(f"{name} stands in docs/reference and is not public" for name in sorted({*found} - wanted - rooms)),
        *(f"{name} stands in docs/reference more than once" for name in sorted({n for n in found if found.count(n) > 1})),
    ]


def test_the_reference_shows_every_public_name_once() -> None:
    assert not missing_and_strange(PAGES)


def test_a_gap_in_the_reference_is_seen() -> None:
    planted = {
        **PAGES,
        "routing.md": PAGES["routing.md"].replace("   route_to_zarr\n", "   route_to_mars\n"),
        "accessors.md": PAGES["accessors.md"].replace("   Dataset.river.outlets\n", ""),
        "datasets.md": PAGES["datasets.md"] + PAGES["datasets.md"],
    }
    faults = missing_and_strange(planted)
    assert {
        "xroute.route_to_zarr stands on no page of docs/reference",
        "xroute.route_to_mars stands in docs/reference and is not public",
        "xarray.Dataset.river.outlets stands on no page of docs/reference",
        "xroute.datasets.tutorial stands in docs/reference more than once",
    } <= {*faults}


def test_every_command_is_on_its_page() -> None:
    from from_code import commands, help_of

    shown = re.findall(r"```\{command-help\}[ ]*(.*)\n```", PAGES["command-line.md"])
    assert shown == ["", *commands()]
    assert all(help_of(words).startswith("Usage: ") for words in shown)
    assert re.findall(r"^## xroute (.*)$", PAGES["command-line.md"], re.M) == shown[1:]


def test_every_page_is_in_the_index() -> None:
    (tree,) = re.findall(r"```\{toctree\}\n(.*?)```", PAGES["index.md"], re.S)
    named = [line.strip() for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(named) == sorted(name.removesuffix(".md") for name in PAGES if name != "index.md")
