"""Every public name stands in the reference, and its docstring says what a user must know, by mechanical rules.

What is public, `docs/_ext/public.py` says. The rules are functions from a `Named` to faults; each is planted a fault below, and
seen to find it:

- every parameter is documented, and nothing else is; what is returned or yielded has its section;
- arrays have their dimensions, "(reach, time)", or the shape of a tensor, "[batch, reach]";
- numbers and arrays have units, or are said to be something that has none;
- what raises an XRouteError, itself or by a function of xroute that it calls, says which;
- functions, classes and methods have an example that runs as a doctest (the whole suite runs them);
- what computes a published formula names its source: an author and a year.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

import xroute
from xroute.exceptions import ParameterError, XRouteError

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


# ── the docstrings: what is looked at ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Named:
    """A public function, class, method or property."""

    name: str
    function: Any
    kind: Literal["function", "class", "method", "property"]
    owner: type | None = None

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        bound = self.kind in ("method", "property") and not isinstance(
            inspect.getattr_static(self.owner, self.name.rpartition(".")[2], None), staticmethod
        )
        return dict(list(inspect.signature(self.function).parameters.items())[bound:])

    @property
    def returns(self) -> str:
        """The annotation of what is returned, as text."""
        given = inspect.signature(self.function).return_annotation if self.kind != "class" else None
        return "" if given in (None, "None", inspect.Signature.empty) else str(given)


@cache
def every_name() -> tuple[Named, ...]:
    from xroute.accessors import RiverAccessor, RouteAccessor

    found = []
    for name, value in public.names().items():
        if inspect.isclass(value):
            found.append(Named(name, value, "class"))
            found += [member_of(f"{name}.{member}", of, value) for member, of in public.members(value)]
        elif isinstance(value, types.FunctionType):
            found.append(Named(name, value, "function"))
    found.append(Named("DataArray.route", RouteAccessor.__call__, "method", RouteAccessor))
    for name, of in (("DataArray.route", RouteAccessor), ("Dataset.river", RiverAccessor)):
        found += [member_of(f"{name}.{member}", value, of) for member, value in public.members(of)]
    return tuple(found)


def member_of(name: str, value: Any, owner: type) -> Named:
    if public.is_attribute(value):
        return Named(name, getattr(value, "fget", None) or value.func, "property", owner)
    return Named(name, getattr(value, "__func__", value), "method", owner)


def sections(doc: str) -> dict[str, str]:
    """Text under each of numpydoc's headings; what stands before the first is under ""."""
    found, title = {"": ""}, ""
    lines = doc.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and below == "-" * len(line) and len(line) > 3:
            title = line
            found[title] = ""
        elif not re.fullmatch(r"-{4,}", line):
            found[title] += line + "\n"
    return found


def entries(section: str) -> dict[str, str]:
    """What is said of each name of a section: the line ``a, b : type`` and those under it, for a and for b."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line.strip() and not line.startswith(" "):
            names = [name.strip().lstrip("*") for name in line.partition(" : ")[0].split(",")]
            found |= dict.fromkeys(names, "")
            line = line.partition(" : ")[2]  # a name says nothing of its units
        for name in names:
            found[name] += line + "\n"
    return found


# ── the docstrings: the rules ─────────────────────────────────────────────────────────────────────────────────────────

ELSEWHERE = re.compile(r"\b[Aa]s (?:of |for |in |by |those of )?`[\w.]+`|\bSee `")
"""A parameter that another function explains: dimensions and units stand there."""
ARRAY = re.compile(r"DataArray|NDArray|ndarray|\bTensor\b|\bFloat\b")
ARRAYS = ("runoff", "discharge", "simulated", "observed", "known", "flows")
"""Parameters that are arrays, whatever their annotation says."""
DIMENSIONS = (
    r"\.\.\.", r"\*?[a-z_]*reach", "known reach", "reach of the scheme", "[a-z_]*time", "gauges?", "members?", "link",
    "pair", "lag", "batch", "row", "rows", "columns?", "cell", "step", "ordinate", "lat", "lon", "latitude",
    "longitude", "y", "x", "bin", "quantile", "parameter", "epoch", "month", "group", "source", "target", "K",
    r"sum of \(?K(?: - 1\))?", r"\*?grid", "probability", "threshold", "month or day", "period", "run", "exceedance",
)  # fmt: skip
DIMENSION = f"(?:{'|'.join(DIMENSIONS)})"
SHAPE = re.compile(
    rf"[(\[]{DIMENSION}(?: [+-] 1)?(?:, {DIMENSION}(?: [+-] 1)?)*[)\]]|without the time|same dimensions|same shape|of any shape"
)
"""Dimensions of labelled arrays, "(reach, time)", shapes of others, "[batch, reach]", or what they are like."""
UNITS = re.compile(
    r"\bunits?\b|\bSI\b|volume flux|\bseconds\b|\bhours?\b|\bdays?\b|timedelta|m3 s-1|\bmm\b|\bm s-1\b|\bdegrees\b|\bpoints\b|"
    r"\binch(?:es)?\b|\bpixels\b|\bsecond\b|``\"\d*h\"``|\[(?:1|%|s|m|m2|km2|timedelta64)\]"
)
PURE = re.compile(
    r"\b(?:ids?|positions?|numbers?|shares?|parts?|fractions?|probabilit\w+|scores?|orders?|ind(?:ex|ices)|masks?|whether|"
    r"how many|weights?|exponent|loss|factors?|percent|rate|times|coefficients?|true|false|whole|1 is best|width|group|"
    r"partition)\b",
    re.IGNORECASE,
)
"""Words for what has no units."""
NUMBER = re.compile(r"\bfloat\b|\bFloat\b")
QUANTITIES = ("dt", "celerity", "diffusivity", "length", "slope", "area", "width", "step")
"""Parameters that are physical quantities, whatever their annotation says."""
SOURCE = re.compile(r"[A-Z]\w+(?: et al\.| and [A-Z]\w+)?,? \(?(?:1[89]|20)\d\d\b|^\w.*\((?:1[89]|20)\d\d\)\.", re.MULTILINE)
"""An author and a year: "McCarthy (1938)", "Nash and Sutcliffe 1970", or an entry of References."""
PROTOCOL = "xroute.engine.backends.Backend"
"""A protocol, whose methods say in prose what goes in and what comes out. CONTRIBUTING.md has a whole one for an example."""
FORMULAS = (
    "xroute.estimate_parameters", "xroute.lakes", "xroute.unit_hydrograph", "xroute.Network.strahler", "Dataset.river.strahler",
    "xroute.scores", *(f"xroute.scores.{name}" for name in ("nse", "kge", "log_nse", "fhv", "flv", "flow_duration", "skill")),
    *(f"xroute.losses.{name}" for name in ("nse", "kge", "log", "log_offset")), "xroute.ParameterModel",
    "xroute.datasets.scheidegger", "xroute.Network.travel_time", "Dataset.river.travel_time",
)  # fmt: skip
"""What computes by a published formula."""


def is_error(of: Named) -> bool:
    return of.kind == "class" and issubclass(of.function, Exception)


def undocumented(of: Named) -> list[str]:
    """Parameters that nothing is said of, and what is said of none."""
    if of.kind == "property" or is_error(of) or of.name.startswith(PROTOCOL):
        return []
    said = sections(of.doc)
    own = entries(said.get("Parameters", "") + said.get("Attributes", "") * (of.kind == "class"))
    taken = of.parameters
    beside = of.kind == "class" or any(p.kind is p.VAR_KEYWORD for p in taken.values())
    named = [name for name, p in taken.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return [
        *(f"{of.name}: parameter {name!r} is not documented" for name in named if name not in own),
        *(f"{of.name}: {name!r} is documented, and no parameter" for name in own if name not in taken and not beside),
    ]


def unreturned(of: Named) -> list[str]:
    """What returns something, and has no section of it."""
    if of.kind in ("class", "property") or of.name.startswith(PROTOCOL) or not of.returns:
        return []
    if {"Returns", "Yields"} & {*sections(of.doc)}:
        return []
    return [f"{of.name}: returns {of.returns}, and has no Returns"]


def parts(of: Named) -> Iterator[tuple[str, str, bool, bool]]:
    """Each parameter and what is returned: its name, what is said of it, whether it is an array, and whether a quantity."""
    said = sections(of.doc)
    if is_error(of):
        return
    if of.kind == "property":
        yield "it", of.doc, bool(ARRAY.search(of.returns)), bool(ARRAY.search(of.returns) or NUMBER.search(of.returns))
        return
    own = entries(said.get("Parameters", "") + said.get("Attributes", "") * (of.kind == "class"))
    for name, parameter in of.parameters.items():
        kind = "" if parameter.annotation is inspect.Parameter.empty else str(parameter.annotation)
        array = bool(ARRAY.search(kind)) or (name in ARRAYS and "bool" not in kind)
        if name in own and not ELSEWHERE.search(own[name]):
            yield name, own[name], array, array or bool(NUMBER.search(kind)) or name in QUANTITIES
    returned = said.get("Returns", said.get("Yields", ""))
    array = bool(ARRAY.search(of.returns + returned.partition("\n")[0]))
    if returned and not ELSEWHERE.search(returned):
        yield "what it returns", returned, array, array or bool(NUMBER.search(of.returns))


def shapeless(of: Named) -> list[str]:
    """Arrays without dimensions or shape."""
    found = [name for name, text, array, _ in parts(of) if array and not SHAPE.search(text)]
    return [f"{of.name}: {name} has no dimensions or shape" for name in found]


def unitless(of: Named) -> list[str]:
    """Quantities without units, that are not said to be something that has none."""
    return [
        f"{of.name}: {name} has no units" for name, text, _, quantity in parts(of)
        if quantity and not UNITS.search(text) and not PURE.search(text)
    ]  # fmt: skip


def without_example(of: Named) -> list[str]:
    """Functions, classes and methods without an example, or with one that doctest does not run."""
    if of.kind == "property" or of.name.startswith(PROTOCOL) or is_error(of):
        return []
    examples = doctest.DocTestParser().get_examples(sections(of.doc).get("Examples", ""))
    if not examples or all(doctest.SKIP in example.options for example in examples):
        return [f"{of.name}: has no example that runs"]
    return [f"{of.name}: an example is skipped" for example in examples if doctest.SKIP in example.options]


def sourceless(of: Named) -> list[str]:
    """What computes a published formula, and names no author and year."""
    return [f"{of.name}: names no source" for _ in [0] if of.name in FORMULAS and not SOURCE.search(of.doc)]


# What is raised is read from the source of a function, and of those of xroute that it calls.


@cache
def tree_of(function: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def raised_by(function: Any) -> set[str]:
    """Names of the XRouteErrors that the text of a function raises by itself."""
    errors = {name for name, value in vars(xroute).items() if inspect.isclass(value) and issubclass(value, XRouteError)}
    tree = tree_of(function)
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None] if tree else []
    return {call.func.id for call in raised if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)} & errors


def called_by(function: Any, owner: type | None = None) -> list[Any]:
    """Functions of xroute that the text of a function calls by name, those that it imports itself too, and own methods."""
    tree = tree_of(function)
    if tree is None:
        return []
    names = dict(getattr(inspect.unwrap(function), "__globals__", {}))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xroute"):
            module = importlib.import_module(node.module or "")
            names |= {alias.asname or alias.name: getattr(module, alias.name, None) for alias in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            found.append(names.get(node.func.id))
        elif isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("self", "cls") and owner is not None:
            found.append(inspect.getattr_static(owner, node.func.attr, None))
    found = [each for each in found if isinstance(each, types.FunctionType)]
    return [each for each in found if each.__module__.startswith("xroute")]


def unraised(of: Named) -> list[str]:
    """What raises XRouteErrors, and does not say so: those of its own by name, those of what it calls at all."""
    code = [inspect.unwrap(of.function)]
    if of.kind == "class":
        parents = [vars(parent) for parent in of.function.__mro__ if parent.__module__.startswith("xroute")]
        code = [parent[name] for parent in parents for name in ("__init__", "__post_init__") if name in parent]
        code = [each for each in code if isinstance(each, types.FunctionType)]
    said = sections(of.doc).get("Raises", "") + (of.doc if of.kind == "property" else "")
    own = set().union(*(raised_by(each) for each in code))
    below = set().union(*(raised_by(called) for each in code for called in called_by(each, of.owner)))
    if "XRouteError" in said or not own | below:
        return []
    if not said.strip():
        return [f"{of.name}: raises {', '.join(sorted(own | below))}, and has no Raises"]
    return [f"{of.name}: raises {name}, and its Raises does not say so" for name in sorted(own) if name not in said]


RULES: tuple[Callable[[Named], list[str]], ...] = (
    undocumented, unreturned, shapeless, unitless, without_example, sourceless, unraised,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_docstrings_keep_the_rule(rule: Callable[[Named], list[str]]) -> None:
    faults = [fault for of in every_name() for fault in rule(of)]
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults)


# ── that a fault is seen ──────────────────────────────────────────────────────────────────────────────────────────────


def good(runoff: Any, dt: float, share: float = 0.5) -> Any:
    """Route runoff as Zoch (1934) did.

    Parameters
    ----------
    runoff : (reach, time, ...)
        Runoff, in the units of a volume flux.
    dt
        Step [s].
    share
        Share of the water that goes this way.

    Returns
    -------
    xarray.DataArray
        Discharge (reach, time, ...) in the units of runoff.

    Raises
    ------
    ParameterError
        For a step that is none.

    Examples
    --------
    >>> 1 + 1
    2
    """
    if dt <= 0:
        raise ParameterError("no step")
    return runoff



def fault_of(old: str, new: str, rule: Callable[[Named], list[str]], name: str = "good") -> list[str]:
    """What a rule says of `good` with a part of its docstring taken for another."""
    doc = inspect.cleandoc(good.__doc__ or "")
    assert old in doc
    made = types.FunctionType(good.__code__, good.__globals__, "good", good.__defaults__)
    made.__doc__, made.__annotations__ = doc.replace(old, new), good.__annotations__
    return rule(Named(name, made, "function"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_docstring_passes(rule: Callable[[Named], list[str]]) -> None:
    assert not fault_of("", "", rule)


@pytest.mark.parametrize(
    ("old", "new", "rule", "message"),
    [
        ("share\n    Share of the water that goes this way.", "", undocumented, "parameter 'share' is not documented"),
        ("share\n    Share", "part\n    Share", undocumented, "'part' is documented, and no parameter"),
        ("Returns\n-------", "Gives\n-----", unreturned, "has no Returns"),
        ("runoff : (reach, time, ...)", "runoff", shapeless, "runoff has no dimensions"),
        ("Discharge (reach, time, ...) in", "Discharge (see above) in", shapeless, "what it returns has no dimensions"),
        ("Runoff, in the units of a volume flux.", "Runoff.", unitless, "runoff has no units"),
        ("Step [s].", "Step.", unitless, "dt has no units"),
        ("Share of the water that goes this way.", "Water that goes this way.", unitless, "share has no units"),
        (">>> 1 + 1\n2", "1 + 1 is 2", without_example, "has no example"),
        (">>> 1 + 1\n2", ">>> 1 + 1  # doctest: +SKIP\n2", without_example, "has no example that runs"),
        (" as Zoch (1934) did", " as others did", sourceless, "names no source"),
    ],
)
def test_a_fault_of_a_docstring_is_seen(
    old: str, new: str, rule: Callable[[Named], list[str]], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FORMULAS", ("good",))
    faults = fault_of(old, new, rule)
    assert any(message in fault for fault in faults), faults


def test_errors_that_are_not_told_are_seen() -> None:
    def silent(dt: float) -> None:
        """Refuse a step."""
        raise ParameterError("no")

    def wrong(dt: float) -> None:
        """Refuse a step.

        Raises
        ------
        StateError
            Never.
        """
        raise ParameterError("no")

    def silent_of_others(dt: float) -> None:
        """Refuse a step."""
        from xroute.options import check_device

        check_device("mars")

    def told(dt: float) -> None:
        """Refuse a step.

        Raises
        ------
        XRouteError
            For any.
        """
        raise ParameterError("no")

    assert unraised(Named("silent", silent, "function")) == ["silent: raises ParameterError, and has no Raises"]
    assert unraised(Named("wrong", wrong, "function")) == ["wrong: raises ParameterError, and its Raises does not say so"]
    assert unraised(Named("others", silent_of_others, "function")) == ["others: raises ParameterError, and has no Raises"]
    assert not unraised(Named("told", told, "function"))


def test_what_is_looked_at() -> None:
    """Functions, classes, their members (those of mixins too), lazy names and accessors."""
    names = {of.name: of.kind for of in every_name()}
    assert {
        "xroute.route": "function", "xroute.calibrate": "function", "xroute.Router": "class", "xroute.Router.array": "method",
        "xroute.Network.strahler": "property", "xroute.Network.from_links": "method", "Dataset.river.upstream": "method",
        "DataArray.route": "method", "xroute.io.rapid.read_network": "function", "xroute.scores.nse": "function",
    }.items() <= names.items()  # fmt: skip
    assert "xroute.Router.extra_repr" not in names and "xroute.Router.cuda" not in names


FORM = ("GL05", "GL06", "GL07", "GL08", "SS01", "PR10")
"""What of numpydoc's own checks the rules above do not say: sections and their order, and the form of parameters."""


def test_the_form_is_numpydocs() -> None:
    """Sections that numpydoc knows, in its order, and parameters in the form that it reads."""
    validate = pytest.importorskip("numpydoc.validate")
    faults = []
    for of in every_name():
        if of.kind == "property" or of.owner is not None and not of.name.startswith("xroute."):
            continue
        path = f"{of.function.__module__}.{of.function.__qualname__}"
        found = validate.validate(path)["errors"]
        faults += [f"{of.name}: {code} {text}" for code, text in found if code in FORM]
    assert not faults, "\n".join(faults)
