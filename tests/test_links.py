"""Links lead somewhere: in README.md and its neighbours, docs/, examples/, benchmarks/ and paper/, without the network.

Links inside the repository are followed, to files, headings, labels, pictures and pages of the site. Of links to elsewhere it is
seen that they are well formed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    page
    for pattern in ("*.md", ".github/**/*.md", "paper/*.md", "docs/**/*.md")
    for page in sorted(ROOT.glob(pattern))
    if not {"_build", "generated"} & set(page.parts)
]
SCRIPTS = [*sorted(ROOT.glob("examples/*.py")), *sorted(ROOT.glob("benchmarks/*.py"))]
TEXTS = [*SCRIPTS, ROOT / "CITATION.cff", ROOT / "pyproject.toml"]
BY_SPHINX = ("genindex", "modindex", "search")


def prose(text: str) -> str:
    """A page without its code, but with as many lines."""
    code = r"^(\s*)(`{3,})(?!\{(?!code-cell|math|eval-rst)).*?^\1\2`*\s*$"  # other directives hold text
    text = re.sub(code, lambda found: "\n" * found[0].count("\n"), text, flags=re.S | re.M)
    spans = r"(?<!`)`[^`\n]+`(?!`)(?![^\[\]]*\]\()"
    return re.sub(spans, lambda found: found[0] if is_role(text, found) else " ", text)


def is_role(text: str, found: re.Match[str]) -> bool:
    """Whether this is the text of a role, as of {ref}`label`."""
    return text[: found.start()].endswith("}")


def anchors(text: str) -> set[str]:
    """Names that headings and labels of a page are linked by."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles]
    headings = {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in plain}
    return headings | set(re.findall(r"^\(([\w-]+)\)=$", text, re.M))


def targets(text: str) -> Iterator[str]:
    """Where the links and pictures of a page lead: those of Markdown, of HTML, and of directives."""
    text = prose(text)
    yield from re.findall(r"\]\(\s*<?((?:[^()\s<>]|\([^()\s]*\))+)>?(?:\s+\"[^\"]*\")?\s*\)", text)
    yield from re.findall(r"^\s*\[[^\]^]+\]:\s*<?(\S+?)>?\s*$", text, re.M)
    yield from re.findall(r"\b(?:href|src)=\"([^\"]+)\"", text)
    yield from re.findall(r"^\s*[:`]{3,}\{(?:figure|image)\}\s+(\S+)", text, re.M)
    yield from re.findall(r"<(https?://[^>\s]+)>", text)


def roles(text: str) -> Iterator[tuple[str, str]]:
    """Role and target of {ref}`...` and {doc}`...`; cards name theirs by :link: and :link-type:."""
    for role, body in re.findall(r"\{(ref|doc)\}`([^`]+)`", text):
        inner = re.search(r"<([^>]+)>\s*$", body)
        yield role, inner[1] if inner else body
    for target, role in re.findall(r"^\s*:link: (\S+)\n\s*:link-type: (ref|doc)$", text, re.M):
        yield role, target


def site() -> str:
    """Where the documentation is published, as pyproject.toml says."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    return next((url.rstrip("/") for name, url in urls.items() if "doc" in name.lower()), "https://xroute.readthedocs.io")


def home() -> str:
    """Where the repository is, as pyproject.toml says."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    return next((url.rstrip("/") for name, url in urls.items() if "source" in name.lower() or "repository" in name.lower()),
                "https://github.com/xroute/xroute")  # fmt: skip


def file_of(target: str, page: Path, root: Path = ROOT) -> tuple[Path | None, str]:
    """File and heading that a link leads to; no file for one that leads out of the project."""
    path, _, heading = target.partition("#")
    if target.startswith(site()):
        inner = re.sub(r"^/?(en/(latest|stable)/?)?", "", path.removeprefix(site()))
        inner = re.sub(r"(^|/)$", r"\1index.html", inner).removesuffix(".html")
        if inner.startswith("reference/generated/") or inner in BY_SPHINX:
            return None, ""
        return root / "docs" / f"{inner}.md", heading
    inside = re.match(rf"{re.escape(home())}/(?:blob|tree|raw)/main/(.*)", path)
    if inside:
        return root / inside[1], heading
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return None, ""
    return (page.parent / path if path else page), heading


def well_formed(url: str) -> bool:
    """Whether a link out of the project could lead somewhere."""
    parts = urlsplit(url)
    if parts.scheme == "mailto":
        return re.fullmatch(r"[^@\s]+@[\w-]+(\.[\w-]+)+", parts.path) is not None
    host = parts.hostname or ""
    named = re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", host) is not None
    odd = re.search(r"[\s<>\"`{}|\\^]", url) or url.count("(") != url.count(")") or ".." in url
    doi = host not in ("doi.org", "dx.doi.org") or re.fullmatch(r"/10\.\d{4,9}/\S+", parts.path) is not None
    return parts.scheme == "https" and named and not odd and doi


def faults(text: str, page: Path, root: Path = ROOT) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for target in targets(text):
        file, heading = file_of(target, page, root)
        if file is None:
            inside = target.startswith(site()) or well_formed(target)
            found += [] if inside else [f"{target} is not well formed"]
        elif not file.exists():
            found.append(f"{target}: there is no {file.relative_to(root) if file.is_relative_to(root) else file.name}")
        elif heading and file.suffix == ".md" and heading not in anchors(file.read_text("utf-8")):
            found.append(f"{target}: there is no such heading")
    labels = {label for other in PAGES for label in re.findall(r"^\(([\w-]+)\)=$", other.read_text("utf-8"), re.M)}
    for role, target in roles(text):
        if role == "ref" and target not in labels | set(BY_SPHINX):
            found.append(f"{{ref}}`{target}`: there is no such label")
        elif role == "doc":
            base = root / "docs" if target.startswith("/") else page.parent
            if not (base / f"{target.lstrip('/')}.md").exists():
                found.append(f"{{doc}}`{target}`: there is no such page")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    found = faults(page.read_text("utf-8"), page)
    assert not found, found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_addresses_in_scripts_are_well_formed(path: Path) -> None:
    for url in re.findall(r"https?://[^\s\"'<>`)\]]+", path.read_text("utf-8")):
        assert well_formed(url.rstrip(".,;")), url


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    """Each kind of link, right and wrong."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "other.md").write_text("# A `title`, of sorts\n\n(mark)=\n## Two\n")
    page = tmp_path / "docs" / "page.md"
    right = [
        "[a](other.md)", "[a](other.md#a-title-of-sorts)", "[a](other.md#mark)", "[`code`](other.md#two)", "[b]: other.md",
        "{doc}`other`", "{doc}`so <other>`", "{doc}`/other`", "![picture](other.md)", "`[a](none.md)`",
        "<https://doi.org/10.1000/a(b)c>", "[a](https://example.org/x)", f"[a]({site()}/en/latest/other.html#two)",
        "```python\n[a](none.md)\n```",
    ]  # fmt: skip
    wrong = [
        "[a](none.md)", "[a](other.md#three)", "![picture](none.png)", '<img src="none.svg">', "{doc}`none`", "{ref}`none`",
        "[a](http//example.org)", "[a](https://example)", "[a](https://doi.org/abc)", f"[a]({site()}/none.html)", "[b]: none.md",
        f"[a]({home()}/blob/main/none.py)", "```{figure} none.png\n```", "[`code`](none.md)", ":link: none\n:link-type: doc",
        "```{note}\n[a](none.md)\n```",
    ]  # fmt: skip
    assert not faults("\n\n".join(right), page, tmp_path)
    for link in wrong:
        assert faults(f"\n{link}\n", page, tmp_path), link
