"""What objects show of themselves, as text and as HTML: what is said is right, nothing fails, and the HTML is well formed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import xarray as xr

import xroute
from xroute.display.panel import Panel, Table
from xroute.options import get_option

VOID = {"br", "hr", "img", "input", "meta", "link"}


class Parsed(HTMLParser):
    """A page whose tags must balance; keeps its tags with attributes, and its text by the tag that it stands in."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.stack == [], f"left open: {self.stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.stack[-1] if self.stack else "", data))

    def rows(self) -> list[str]:
        return [text for tag, text in self.texts if tag in ("td", "th")]


def test_a_page_out_of_balance_is_seen() -> None:
    for html in ("<div><b></div>", "<div>", "</p>"):
        with pytest.raises(AssertionError):
            Parsed(html)


def river() -> xr.Dataset:
    """Four reaches, two outlets; k in hours, x unknown on one, an area, places on both sides of the date line."""
    return xr.Dataset(
        {
            "downstream": ("reach", [30, 30, 0, 0]),
            "k": ("reach", [1.0, 2.0, 4.0, 8.0], {"units": "h"}),
            "x": ("reach", [0.1, 0.2, 0.3, np.nan]),
            "area": ("reach", [10.0, 20.0, 30.0, 1040.0], {"units": "km2"}),
            "lon": ("reach", [179.0, -179.5, -179.0, 178.0]),
            "lat": ("reach", [1.0, 1.5, 0.5, 0.0]),
            "name": ("reach", ["Upper", "<script>alert(1)</script>", "Lower", "&"]),
        },
        {"reach": [10, 20, 30, 40]},
        {"scheme": "muskingum", "routing_step": 900.0, "sampling": "start-mean", "title": "<b>a river</b> & more"},
    )


# ── networks ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_network_says_what_it_is() -> None:
    lines = repr(xroute.Network(river())).splitlines()
    assert lines[0] == "<xroute.Network: 4 reaches, 2 outlets, longest path 2 reaches>"
    facts = {name: value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    assert facts["Reaches"] == "4 (3 headwaters), int64 ids"
    assert facts["Links"] == "2"
    assert facts["Outlets"] == "30, 40"  # the one with three reaches before the one with one
    assert facts["Strahler orders"] == "1: 3, 2: 1"
    assert facts["Scheme"].startswith("muskingum")
    assert facts["Area"] == "1,100 km2 in all"
    assert facts["Routed with"] == "routing step 900 s, sampling start-mean"
    rows = {line.split()[0]: line.split() for line in lines if line.startswith("    ")}
    assert rows["k"] == ["k", "h", "1", "3", "8"]  # in its own units
    assert rows["x"] == ["x", "1", "0.1", "0.2", "0.3", "1", "value", "missing"]
    assert rows["area"] == ["area", "km2", "10", "25", "1,040"]
    assert rows["name"] == ["name", "text"]
    assert rows["title"][1:] == ["<b>a", "river</b>", "&", "more"]
    assert max(map(len, lines)) <= 110


def test_schemes_by_reach_and_bifurcations_are_counted() -> None:
    network = xroute.Network.from_links(
        [1, 1, 2, 3], [2, 3, 4, 4], [0.25, 0.75, 1.0, 1.0],
        parameters={"tau": [60.0, 60.0, 120.0, 180.0], "delay": [0.0, 0.0, 0.0, 90.0]},
    ).assign(scheme=["linear_storage", "linear_storage", "linear_storage", "pure_lag"])  # fmt: skip
    text = repr(network)
    assert "linear_storage on 3 reaches, pure_lag on 1 reach" in text
    assert "rivers part below 1 reach" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("    ")}
    assert rows["tau"] == ["tau", "(linear_storage)", "s", "60", "60", "120"]  # of its own reaches
    assert rows["delay"] == ["delay", "(pure_lag)", "s", "90", "90", "90"]


def test_what_is_estimated_is_noted() -> None:
    bare = xroute.Network(river()[["downstream"]].assign(length=("reach", [1e3] * 4, {"units": "m"})).drop_attrs())
    assert "none yet" in repr(bare)
    made = xroute.estimate_parameters(bare, celerity=1.0)
    assert "Note: " in repr(made) and "estimated" in repr(made)


ODD: dict[str, Any] = {
    "one reach": lambda ds: ds.isel(reach=[3]),
    "no reach": lambda ds: ds.isel(reach=[]),
    "text ids": lambda ds: ds.assign_coords(reach=["<i>", "b\n", "&c", "d"]).assign(downstream=("reach", ["&c", "&c", "", ""])),
    "NaN places": lambda ds: ds.assign(lon=ds["lon"] * np.nan),
    "fill values": lambda ds: ds.assign(lon=ds["lon"] * 0 + 1e20, lat=ds["lat"] * 0 - 9999),
    "places of text": lambda ds: ds.assign(lon=("reach", list("abcd"))),
    "one place": lambda ds: ds.assign(lon=ds["lon"] * 0, lat=ds["lat"] * 0),
    "one parallel": lambda ds: ds.assign(lat=ds["lat"] * 0),
    "unknown scheme": lambda ds: ds.assign_attrs(scheme="<none>"),
    "odd recipe": lambda ds: ds.assign_attrs(routing_step="soon"),
    "no parameters": lambda ds: ds[["downstream"]].drop_attrs(),
    "a missing parameter": lambda ds: ds.drop_vars("x"),
    "objects": lambda ds: ds.assign(what=("reach", np.array([None, 1, "a", [2]], dtype=object))),
    "area of text": lambda ds: ds.assign(area=("reach", list("abcd"))),
    "times": lambda ds: ds.assign(since=("reach", np.array(["2001-01-01", "NaT", "2003-01-01", "2002-01-01"], "M8[ns]"))),
    "many variables": lambda ds: ds.assign({f"v{i}": ("reach", np.arange(4) + i) for i in range(99)}),
    "a table of curves": lambda ds: ds.assign(curve=(("reach", "point"), np.ones((4, 7)))),
    "names that are no text": lambda ds: ds.assign({("a", 1): ("reach", np.arange(4))}).assign_attrs({3: {"x": 1}}),
    "complex": lambda ds: ds.assign(z=("reach", np.arange(4) * 1j)),
    "all unknown": lambda ds: ds.assign(k=ds["k"] * np.nan),
    "odd units": lambda ds: ds.assign(k=ds["k"].assign_attrs(units=7), x=ds["x"].assign_attrs(units="furlong", estimated=3)),
}  # fmt: skip


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_odd_data_is_shown_too(change: Any) -> None:
    network = xroute.Network(change(river()))
    text, page = repr(network), Parsed(network._repr_html_())
    assert text.startswith(f"<xroute.Network: {network.n_reaches} reach") and "Reaches:" in text
    assert not any(tag in ("script", "i", "b") for tag, _ in page.tags)
    assert all(c.isprintable() for c in text.replace("\n", ""))
    for _, attributes in page.tags:
        assert "nan" not in str(attributes.get("d", "")) and "inf" not in str(attributes.get("d", ""))


def test_html_says_what_text_says_and_is_escaped() -> None:
    network = xroute.Network(river())
    html = network._repr_html_()
    page = Parsed(html)
    assert "<b>a river</b> & more" in page.rows() and "<b>" not in html
    for said in ("4 (3 headwaters), int64 ids", "30, 40", "1,100 km2 in all", "1 value missing"):
        assert said in page.rows(), said
    assert [attrs.get("open", "shut") for tag, attrs in page.tags if tag == "details"] == [None, "shut", "shut"]
    fallback = [text for tag, text in page.texts if tag == "pre"]
    assert fallback == [repr(network)]  # where a page takes styles away
    style = "".join(text for tag, text in page.texts if tag == "style")
    assert "color: black" not in style and "#fff" not in style  # colours are the page's own, light or dark


def lines_of(network: xroute.Network) -> list[np.ndarray]:
    """Lines of the map, each of points [point, 2] in pixels."""
    page = Parsed(network._repr_html_())
    paths = [str(attrs["d"]) for tag, attrs in page.tags if tag == "path"]
    return [
        np.array([[float(n) for n in point.split()] for point in line.split("L")])
        for path in paths for line in path.split("M")[1:]
    ]  # fmt: skip


def test_the_map_is_of_the_rivers() -> None:
    ends = {tuple(sorted(map(tuple, line.round().tolist()))) for line in lines_of(xroute.Network(river()))}
    # Reaches 10 and 20 drain to 30, across the date line; 178 E to 179 W is three degrees, in 250 pixels less two margins of 5
    degree = 250 / 3
    place = {10: (1.0, 1.0), 20: (2.5, 1.5), 30: (3.0, 0.5)}
    at = {i: (round(5 + degree * lon), round(5 + (1.5 - lat) * degree)) for i, (lon, lat) in place.items()}
    flat = {point for pair in ends for point in pair}
    assert {at[10], at[20], at[30]} == {(round(x), round(y)) for x, y in flat}


def test_the_map_finds_places_as_pictures_do() -> None:
    """By other names, with fill values, and in a projection, whose units are as long east as north."""
    expected = sorted(line.tolist() for line in lines_of(xroute.Network(river())))
    named = river().rename(lon="longitude", lat="latitude")
    named["longitude"] = named["longitude"] % 360
    assert sorted(line.tolist() for line in lines_of(xroute.Network(named))) == expected
    plane = river().drop_vars(["lon", "lat", "x", "k"]).assign(
        easting=("reach", [0.0, 1e5, 1e5, -9999.0], {"units": "m"}), northing=("reach", [1e5, 1e5, 0.0, -9999.0], {"units": "m"})
    )  # fmt: skip
    network = xroute.Network(plane.assign(tau=("reach", [1.0] * 4)))
    points = {tuple(point) for line in lines_of(network) for point in line.tolist()}
    assert points == {(5.0, 5.0), (175.0, 5.0), (175.0, 175.0)}  # a square, 180 pixels high with its margins


def test_the_map_of_many_reaches_is_small_and_quick() -> None:
    big = xroute.Network(xroute.datasets.scheidegger(300, 100))
    repr(big), big._repr_html_()  # kernels are compiled, the order of reaches is made
    fresh = big.assign(k=7200.0)
    begin = time.perf_counter()
    text, html = repr(fresh), fresh._repr_html_()
    assert time.perf_counter() - begin < 1.0
    assert "30000 reaches" in text
    assert len(html) < 60_000 and 10 < len(lines_of(fresh)) <= 400


def test_a_changed_network_has_its_own_map() -> None:
    one = xroute.Network(river())
    assert lines_of(one)
    other = one.assign(lon=[0.0, 0.0, 0.0, 0.0], lat=[0.0, 0.0, 0.0, 0.0])
    assert not lines_of(other) and lines_of(one)


# ── others ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_panels_show_all_their_rows() -> None:
    panel = Panel("Kind", "a & b", (("One", "1 < 2"),), (Table("Rows", (("x", "y"), ("longer", "z")), ("head", "over")),))
    table = ["    head    over", "    x       y", "    longer  z"]
    assert panel.text().splitlines() == ["<Kind: a & b>", "One:  1 < 2", "Rows:", *table]
    assert Parsed(panel.html()).rows() == ["One", "1 < 2", "head", "over", "x", "y", "longer", "z"]


def members(accessor: type) -> set[str]:
    return {name for name in dir(accessor) if not name.startswith("_")}


def test_accessors_show_what_they_offer_without_a_network() -> None:
    ds = xr.Dataset({"a": ("x", [1.0])})  # no network at all
    for shown in (ds.river, ds["a"].route):
        text, page = repr(shown), Parsed(shown._repr_html_())
        for name in members(type(shown)):
            assert f".{name}" in text, name
            assert any(row.startswith(f".{name}") for row in page.rows()), name
    assert "(network, ...)" in repr(ds["a"].route) and "Route runoff" in repr(ds["a"].route)
    assert ".upstream(ids)" in repr(ds.river)


def test_options_show_what_holds() -> None:
    with xroute.set_options(threads=3):
        assert "threads=3" in repr(xroute.set_options())
    text = repr(xroute.set_options())
    assert f"device={get_option('device')!r}" in text and "threads=None (one for each of" in text


def test_schemes_say_their_parameters() -> None:
    text = repr(xroute.schemes.SCHEMES["hayami"])
    assert "length [m] > 0" in text and "diffusivity [m2 s-1]" in text and "function" not in text


@pytest.fixture(scope="module")
def learned() -> Iterator[dict[str, Any]]:
    torch = pytest.importorskip("torch")
    network = xroute.Network(xroute.datasets.scheidegger(4, 3))
    learnable = {"k": "strahler", "x": ("scale", None)}
    router = xroute.Router(network, dt="1h", learnable=learnable, known=[int(network.ids[3])], hillslope=None)
    runoff = xroute.datasets.storm_runoff(network, 96, dtype=float)
    gauges = runoff.route(network).isel(reach=[9, 10, 11])
    result = xroute.calibrate(
        runoff, network.assign(k=1.3 * network["k"]), gauges, parameters={"k": "scale"}, groups="all", epochs=2, progress=False
    )  # fmt: skip
    model = xroute.ParameterModel(["length", "area"], hidden=(4,))
    _, state = router(torch.rand(2, 12, 5), known=torch.ones(1, 5), return_state=True)
    yield {"network": network, "router": router, "result": result, "model": model, "state": state}


def test_a_router_says_how_it_routes_and_what_it_learns(learned: dict[str, Any]) -> None:
    router, orders = learned["router"], len(np.unique(learned["network"].strahler))
    text, page = repr(router), Parsed(router._repr_html_())
    assert "12 reaches" in text and "dt=3600 s, substeps=1, sampling='mean', lateral='head', known=1, device='cpu'" in text
    assert f"muskingum: k [s] learned: {orders} value{'s' * (orders > 1)}, groups of strahler" in text
    assert "muskingum: x [1] learned: 12 factors, one for each reach" in text and "(values): ModuleDict" in text
    assert "muskingum on 12 reaches" in page.rows() and "3600 s, in 1 routing step" in page.rows()
    assert f"{orders + 12} values learned" in "".join(text for _, text in page.texts)
    assert "4" in " ".join(page.rows()) and any(tag == "path" for tag, _ in page.tags)
    assert "fixed" in repr(xroute.Router(learned["network"], dt="1h"))


def test_a_state_of_a_router_is_a_line(learned: dict[str, Any]) -> None:
    text = repr(learned["state"])
    assert "2 x 12 reaches" in text and "3600 s" in text and "with gradients" in text and "tensor" not in text
    assert "without gradients" in repr(learned["state"].detach())


def test_a_calibration_says_what_came_out(learned: dict[str, Any]) -> None:
    result = learned["result"]
    text, page = repr(result), Parsed(result._repr_html_())
    assert text.splitlines()[0] == f"<xroute.learning.Calibration: {result.summary()}>"
    for part in ("history", "scores", "curvature", "discharge", "before"):
        assert f".{part} " in text and f".{part}" in page.rows()
    assert "3 gauges: 10, 11, 12" in text
    assert "Calibrated:" in repr(result.network) and "on 12 of 12 reaches" in repr(result.network)


def test_a_model_says_what_it_learns_from(learned: dict[str, Any]) -> None:
    model = learned["model"]
    n = sum(p.numel() for p in model.parameters())
    rows = Parsed(model._repr_html_()).rows()
    assert "length, area" in rows and "k, x" in rows and f"{n}, float64, on cpu" in rows and "has seen no network yet" in rows
    model.prepare(learned["network"])
    assert "prepared: k of muskingum, x of muskingum" in Parsed(model._repr_html_()).rows()


def test_groups_filters_and_summaries_are_a_line(learned: dict[str, Any]) -> None:
    network = learned["network"]
    groups = xroute.reach_groups(network, "strahler")
    sizes = dict(zip(*np.unique(network.strahler, return_counts=True), strict=True))
    text = repr(groups)
    assert all(f"{order}: {n}" in text for order, n in sizes.items()) and "'strahler'" in text and "array" not in text
    made = learned["router"]._filter()[0]
    assert repr(made).startswith("<xroute.schemes.Filter: 12 reaches of 2 to 2 taps, 12 with a pole, on cpu")
