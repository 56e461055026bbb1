"""Unit texts as hydrologists write them, read token by token.

A units library takes any abbreviation apart that it can: ``mmph`` becomes a milli-mile per hour, ``gpm`` a geopotential metre,
``cfm`` a centi-fermi, ``Mm3`` a cube of megametres, and runoff becomes a depth by accident. So a text is not given to pint: it is
bounded, every token of it must be one that the field writes (`NAMES`, `ALIASES`), and pint is asked for the sizes of those.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from xroute.exceptions import UnitsError

__all__ = ["ALIASES", "Token", "UnitText", "read_unit_text", "registry"]

LONGEST = 100
"""Characters of a text of units; longer ones are none."""

PREFIXES = {"G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3, "u": -6, "μ": -6}
PREFIX_NAMES = {
    "giga": 9, "mega": 6, "kilo": 3, "hecto": 2, "deca": 1, "deci": -1,
    "centi": -2, "milli": -3, "micro": -6,
}  # fmt: skip

_SPELLINGS = {
    "meter": "m", "gram": "g", "metric_ton": "t tonne tonnes", "pound": "lb lbs",
    "liter": "l L", "gallon": "gal gals gallon gallons", "acre": "ac acre acres", "hectare": "ha hectare hectares",
    "inch": "in inch inches", "foot": "ft foot feet", "yard": "yd yard yards", "mile": "mi mile miles",
    "second": "s sec secs second seconds", "minute": "min mins minute minutes", "hour": "h hr hrs hour hours",
    "day": "d day days", "week": "week weeks", "month": "mo mon month months", "year": "a y yr yrs year years annum",
    "kelvin": "K kelvin", "pascal": "Pa pascal", "newton": "N newton", "joule": "J joule", "watt": "W watt",
    "mole": "mol mole", "radian": "rad radian radians", "degree": "deg degree degrees", "percent": "% percent",
    "step": "step steps timestep timesteps",
}  # fmt: skip
NAMES = {word: (name, 0) for name, words in _SPELLINGS.items() for word in words.split()}
"""By token: pint's name of the unit, and a power of ten."""
for _symbol, _prefixes in {"m": "k h da d c m u μ", "g": "k m u μ", "l": "G M k h d c m", "L": "G M k h d c m"}.items():
    NAMES |= {p + _symbol: (NAMES[_symbol][0], PREFIXES[p]) for p in _prefixes.split()}
for _word, _name in {"metre": "meter", "meter": "meter", "litre": "liter", "liter": "liter", "gram": "gram"}.items():
    for _prefix, _power in {"": 0, **PREFIX_NAMES}.items():
        NAMES |= {_prefix + _word + plural: (_name, _power) for plural in ("", "s")}
NAMES |= {"kgal": ("gallon", 3), "Mgal": ("gallon", 6), "Mt": ("metric_ton", 6), "Gt": ("metric_ton", 9)}

ALIASES = {
    # volume fluxes
    "cms": "m3 s-1", "cumec": "m3 s-1", "cumecs": "m3 s-1", "kcms": "1e3 m3 s-1", "cmh": "m3 h-1", "cmd": "m3 d-1",
    "cfs": "ft3 s-1", "cusec": "ft3 s-1", "cusecs": "ft3 s-1", "kcfs": "1e3 ft3 s-1", "cfm": "ft3 min-1", "cfd": "ft3 d-1",
    "lps": "L s-1", "lpm": "L min-1", "lpd": "L d-1", "mld": "1e6 L d-1",
    "gpm": "gal min-1", "gpd": "gal d-1", "mgd": "1e6 gal d-1", "cfsm": "ft3 s-1 mi-2",
    # volumes
    "mcm": "1e6 m3", "bcm": "1e9 m3", "tmc": "1e9 ft3", "tmcft": "1e9 ft3", "cf": "ft3",
    "af": "acre*ft", "acft": "acre*ft", "acrefoot": "acre*ft", "acrefeet": "acre*ft",
    "kaf": "1e3 acre*ft", "taf": "1e3 acre*ft", "maf": "1e6 acre*ft", "cfsd": "ft3 s-1 d", "sfd": "ft3 s-1 d", "dsf": "ft3 s-1 d",
    # depths per time, and areas
    "mmph": "mm h-1", "mmpd": "mm d-1", "mmps": "mm s-1",
    "iph": "inch h-1", "mph": "mi h-1", "sqkm": "km2", "sqmi": "mi2", "sqft": "ft2", "sqm": "m2",
}  # fmt: skip
"""Abbreviations of the field, in capitals or not, spelt out."""

_ONE = {"", "-", "1", "none", "unitless", "dimensionless"}
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?"
_WATER = r"(?:of\s+)?(?:liquid\s+)?(?:water(?:\s+equivalent)?|h2o|w\.\s?e(?:q)?\.?|w\.?e(?:q)?\.?)"
_WORDS = (
    (rf"(?<=[A-Za-z\d])\s+{_WATER}(?=[\s/*)]|$)", ""),
    (r"\b(?:thousand)\b", "1e3"), (r"\b(?:million|millions of)\b", "1e6"), (r"\b(?:billion|billions of)\b", "1e9"),
    (r"\b(?:cubic|cu\.?)\s+([a-z]+)", r"\1^3"), (r"\b(?:square|sq\.?)\s+([a-z]+)", r"\1^2"),
    (r"\bper\b", "/"), (r"\btime step", "timestep"),
)  # fmt: skip
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_GAP = re.compile(r"\s*[*.]\s*(?=[A-Za-zμ%])|-(?=[A-Za-z])|\s+(?=[A-Za-zμ%])|(?<=\d)(?=[A-Za-zμ%])|\s*$")
_TOKEN = re.compile(r"([A-Za-zμ%]+)(?:\s*\^\s*([+-]?\d)|([+-]?\d))?(?![\d^])")


@dataclass(frozen=True)
class Token:
    """A unit in a text: pint's name of it, a power of ten, and its exponent."""

    name: str
    power: int
    exponent: int


@dataclass(frozen=True)
class UnitText:
    """A text of units, read.

    Attributes
    ----------
    scale
        Factor that the text itself bears: 1000 of ``1000 m3``.
    tokens
        Its units.
    plain
        The text, or what an abbreviation stands for.
    """

    scale: float
    tokens: tuple[Token, ...]
    plain: str

    @cached_property
    def in_si(self) -> float:
        """One of the unit, in SI units."""
        size = float(self._quantity().to_base_units().magnitude) * self.scale
        for token in self.tokens:
            size *= 10.0 ** (token.power * token.exponent)
        return size

    @property
    def dimensions(self) -> dict[str, float]:
        """Exponents of ``[length]``, ``[time]``, ``[mass]``, ..., without those that are zero."""
        return dict(self._dimensions)

    @cached_property
    def _dimensions(self) -> dict[str, float]:
        return {str(name): float(e) for name, e in dict(self._quantity().dimensionality).items() if e}

    def per(self, *names: str) -> bool:
        """Whether it is per one of some units, by pint's names."""
        return any(t.name in names and t.exponent < 0 for t in self.tokens)

    def _quantity(self) -> Any:
        units: dict[str, int] = {}
        for token in self.tokens:
            if token.name != "step":  # an amount per step is an amount
                units[token.name] = units.get(token.name, 0) + token.exponent
        return registry().Quantity(1.0, registry().UnitsContainer({n: e for n, e in units.items() if e}))


def registry() -> Any:
    """Pint's registry, as cf-xarray sets it up."""
    with warnings.catch_warnings():  # of no concern here: it says so wherever matplotlib is absent
        warnings.filterwarnings("ignore", message=r"Import\(s\) unavailable to set up matplotlib", category=UserWarning)
        from cf_xarray.units import units

    return units


def read_unit_text(text: Any, what: str) -> UnitText:
    """Read a text of units.

    Parameters
    ----------
    text
        Units such as ``m3 s-1``, ``m³/s``, ``kg m**-2 s**-1``, ``inches per day``, ``1e6 m3``, ``cfs``.
    what
        Whose they are, for messages.
    """
    if not isinstance(text, str):
        raise UnitsError(f"{what}: units are text such as 'm3 s-1', not {text!r:.60}")
    try:
        if len(text) > LONGEST:
            raise _Unclear(f"they are {len(text)} characters long")
        return _read(text)
    except _Unclear as error:
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        raise UnitsError(
            f"{what}: units {shown!r} are not understood: {error}. Write them like 'm3 s-1', 'mm d-1', 'kg m-2 s-1', 'km2' or 'h'"
        ) from error.__cause__


class _Unclear(Exception):
    """Why a text is not understood."""


_Product = tuple[float, tuple[Token, ...]]
"""A factor and units."""


@lru_cache(maxsize=256)
def _read(text: str) -> UnitText:
    rest = _plain(text)
    if rest.lower() in _ONE:
        return UnitText(1.0, (), "1")
    scale, rest = _leading_number(rest)
    if rest.startswith("(") and rest.endswith(")") and rest.count("(") == 1:
        rest = rest[1:-1].strip()
    above, *below = re.split(r"/(?![^(]*\))", rest)
    factor, tokens = _product("" if above.strip() == "1" else above)
    scale *= factor
    for part in below:
        (divisor, under), (factor, beside) = _behind_slash(part.strip())
        scale *= factor / divisor
        tokens += tuple(replace(t, exponent=-t.exponent) for t in under) + beside
    if any(t.name == "step" and t.exponent != -1 for t in tokens):
        raise _Unclear("a step is no unit but in 'per step'")
    whole = _joined(_plain(text))  # an abbreviation and nothing else
    plain = text.strip() if whole in NAMES else ALIASES.get(whole.lower(), text.strip())
    return UnitText(scale, tokens, plain)


def _plain(text: str) -> str:
    """A text in a few characters: ``^`` for all exponents, ``*`` for all products, no words but units."""
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda run: "^" + run[0].translate(_SUPERSCRIPT), text.strip())
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[\u2212\u2013\u2010\u2011]", "-", text)
    text = re.sub("[·⋅∙•×]", "*", text).replace("$", "").replace("_", " ")
    text = text.replace("**", "^")
    text = re.sub(r"\^\s*[({]\s*([+-]?\d)\s*[)}]", r"^\1", text)
    text = re.sub(r"(\^\s*[+-]?\d)\.0(?!\d)", r"\1", text)  # as pint writes exponents that it has computed
    strange = re.search(r"[^A-Za-zμ\d%^*/().+\- ]", text)
    if strange:
        raise _Unclear(f"{strange[0]!r} is no part of units")
    for words, meaning in _WORDS:
        text = re.sub(words, meaning, text, flags=re.IGNORECASE)
    return text.strip()


def _leading_number(text: str) -> tuple[float, str]:
    found = re.match(rf"(?:10\s*\^\s*([+-]?\d{{1,2}})|({_NUMBER}))(?![\d^.])\s*\*?\s*(?=[A-Za-zμ%(])", text)
    if found is None:
        return 1.0, text
    number = 10.0 ** int(found[1]) if found[1] else float(found[2])
    if not 1e-15 <= number <= 1e15:
        raise _Unclear(f"the factor {found[0].strip()} is beyond reason")
    return number, text[found.end() :]


def _behind_slash(part: str) -> tuple[_Product, _Product]:
    """What a slash divides by, and what stands beside that: all of ``(s km2)``, but only the ``s`` of ``s km-2``."""
    number, part = _leading_number(part)
    group = re.fullmatch(r"\(([^()/]+)\)(.*)", part)
    first = _TOKEN.match(_joined(part))
    if group:
        under, after = group[1], group[2]
    elif first:
        under, after = first[0], _joined(part)[first.end() :]
    else:
        raise _Unclear(f"what stands behind a slash, {part!r}, is no unit")
    after = after.strip(" *.-") if after.strip(" *.") else ""
    if any((t[2] or t[3] or "").startswith("-") for t in _TOKEN.finditer(under)):
        raise _Unclear("an exponent below zero stands behind a slash")
    factor, beside = _product(after)
    if any((t[2] or t[3] or "1")[0] != "-" for t in _TOKEN.finditer(after)):
        raise _Unclear(f"it is not clear whether {after!r} stands above or below the slash")
    divisor, tokens = _product(under)
    return (divisor * number, tokens), (factor, beside)


def _joined(text: str) -> str:
    """A product with acre-feet as one word, and days of a flux as two."""
    text = re.sub(r"\bac(?:re)?s?[\s-]*(?:ft|feet|foot)\b", "af", text, flags=re.IGNORECASE)
    return re.sub(r"\b(cfs|cusecs?|cms|cumecs?)-days?\b", r"\1 d", text, flags=re.IGNORECASE)


def _product(text: str) -> _Product:
    text = _joined(text).strip()
    scale, at = 1.0, 0
    tokens: tuple[Token, ...] = ()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _Unclear(f"{text[at:]!r} is no product of units")
        exponent = int(found[2] or found[3] or 1)
        if not exponent:
            raise _Unclear(f"{found[0]!r} has the exponent 0")
        factor, units = _meaning(found[1], exponent)
        scale, tokens = scale * factor, tokens + units
        gap = _GAP.match(text, found.end())
        if gap is None:
            raise _Unclear(f"{text[found.end() :]!r} after {found[0]!r} is no product of units")
        at = gap.end()
    return scale, tokens


def _meaning(word: str, exponent: int) -> _Product:
    """A token and its exponent; names and abbreviations may stand in capitals, symbols may not."""
    if word in ("Mm", "Gm"):
        if exponent != 3:
            raise _Unclear(f"{word!r} is a million metres, or millimetres with a capital by mistake")
        return {"Mm": 1e6, "Gm": 1e9}[word], (Token("meter", 0, 3),)  # Mm3 are a million m3, as everybody means
    name, power = NAMES.get(word) or (NAMES.get(word.lower(), ("", 0)) if len(word) > 3 else ("", 0))
    if name:
        return 1.0, (Token(name, power, exponent),)
    alias = ALIASES.get(word.lower())
    if alias is None:
        raise _unknown(word)
    if abs(exponent) != 1:
        raise _Unclear(f"{word!r} bears the exponent {exponent}")
    read = _read(alias)
    return read.scale**exponent, tuple(replace(t, exponent=t.exponent * exponent) for t in read.tokens)


def _unknown(word: str) -> _Unclear:
    """What is wrong with a token, and what pint would have made of it."""
    import pint

    error = _Unclear(f"{word!r} is no unit that hydrologists write")
    try:
        taken = str(registry().parse_units(word))
    except (pint.PintError, AttributeError, ValueError, TypeError) as cause:
        error.__cause__ = cause
    else:
        error = _Unclear(f"{word!r} is no unit that hydrologists write (pint takes it for {taken!r})")
    return error
