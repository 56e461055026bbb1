"""mizuRoute: a run by its control file, through the commands alone, against its algorithm in plain Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from mizuroute_files import (
    BIG,
    DOWN,
    HRUS,
    LENGTH,
    assert_same,
    convert,
    hru_ids,
    make_folder,
    network_of,
    put,
    river,
    route,
    storms,
    truth,
    write_hru_runoff,
    write_topology,
)
from mizuroute_model import basin_hydrograph, mapped, reach_hydrograph, reach_runoff, simulate

import xroute
from xroute.cli import main
from xroute.exceptions import AlignmentError, NetworkError, ParameterError, TimeAxisError, UnitsError, XRouteError
from xroute.io import export, mizuroute
from xroute.schemes import make_filter

quiet = pytest.mark.filterwarnings("ignore::UserWarning")
HOURS = np.arange(80.0)

# ── its discretisation ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dt", [900.0, 3600.0, 5400.0, 10_800.0, 86_400.0])
def test_the_scheme_has_the_ordinates_of_its_loops(dt):
    rng = np.random.default_rng(0)
    values = {"length": 10 ** rng.uniform(1, 5.3, 30), "celerity": rng.uniform(0.3, 4, 30)}
    values["diffusivity"] = 10 ** rng.uniform(3.3, 4.5, 30)
    for i in range(30):
        own = {name: v[i : i + 1] for name, v in values.items()}
        expected = reach_hydrograph(own["length"][0], dt, own["celerity"][0], own["diffusivity"][0])
        found = make_filter({"mizuroute_irf": (np.arange(1), own)}, dt, 1).taps.numpy()
        assert found.size == len(expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_many_reaches_at_once_are_those_one_by_one_and_have_gradients():
    import torch

    from xroute.schemes.mizuroute import BLOCK, irf_length, irf_taps

    rng = np.random.default_rng(2)
    length = torch.from_numpy(rng.uniform(500, 60_000, 6)).requires_grad_()
    celerity, diffusivity = (torch.full((6,), v, dtype=torch.float64).requires_grad_() for v in (1.5, 5000.0))
    assert torch.autograd.gradcheck(
        lambda length, c, d: irf_taps(3600.0, 12, length=length, celerity=c, diffusivity=d)[0], (length, celerity, diffusivity)
    )
    many = BLOCK + 3
    one = {"length": np.full(many, 9000.0), "celerity": np.full(many, 1.5), "diffusivity": np.full(many, 5000.0)}
    assert (irf_length(3600.0, **one) == len(reach_hydrograph(9000.0, 3600.0, 1.5, 5000.0))).all()


def test_it_is_asked_for_by_name():
    """A network that names no scheme has hayami, whose mean travel time is kept."""
    network = xroute.Network.from_links([1], [0], parameters={"length": 9e3, "celerity": 1.5, "diffusivity": 5e3})
    assert "hayami" in repr(network) and "mizuroute" not in repr(network)


def test_a_wave_between_whole_hours_is_refused_by_name(tmp_path: Path):
    write_topology(tmp_path / "ntopo.nc")
    with pytest.raises(ParameterError, match=r"hydrograph of \d segments is empty.*of lengths.*hayami"):
        mizuroute.read_network(tmp_path / "ntopo.nc", {"velo": 3.0, "diff": 1.0})
    network = xroute.Network.from_links([7], [0], parameters={"length": 300.0, "celerity": 3.0, "diffusivity": 1.0})
    runoff = xr.DataArray(np.ones((1, 3)), {"reach": [7], "time": np.arange(3)}, ("reach", "time"), attrs={"units": "m3 s-1"})
    with pytest.raises(ParameterError, match="mizuroute_irf: 1 reaches have no filter.*reaches 7"):
        runoff.route(network, scheme="mizuroute_irf", dt=3600)


# ── whole runs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_on_hrus_by_commands_alone(tmp_path: Path):
    """Ids beyond 2**31, several HRUs to a segment and none, rows and HRUs in other orders, HRUs of no segment."""
    control = make_folder(tmp_path)
    ids = [*np.random.default_rng(3).permutation([*hru_ids(), 99]).tolist(), 123_456]
    values = storms(80, len(ids))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, ids, HOURS, _FillValue=np.float32(-9999))
    paths = convert(control)
    assert_same(route(paths), truth(values, ids))
    network = network_of(paths["network"])
    assert network.attrs["scheme"] == "mizuroute_irf" and network.attrs["lateral"] == "outlet"
    assert network.attrs["hillslope"] == "gamma-mizuroute" and network.attrs["routing_step"] == 3600
    area = network["area"].sel(reach=[BIG + 3, 5]).values
    assert area.tolist() == [sum(a for _, a in HRUS[BIG + 3]), 0.0]
    assert sorted(network["hru"].values[network["hru_reach"].values <= 0].tolist()) == [98, 99]


def test_what_drains_nowhere_is_told(tmp_path: Path):
    control = make_folder(tmp_path)
    write_hru_runoff(tmp_path / "input" / "runoff.nc", storms(5, 9), [*hru_ids(), 99], HOURS[:5])
    outputs = ["--network", str(tmp_path / "n.nc"), "--runoff", str(tmp_path / "r.nc")]
    text = CliRunner().invoke(main, ["convert", "mizuroute", str(control), *outputs]).output
    assert "2 of 10 HRUs" in text and "drain to no segment" in text
    assert "1 segments downstream are not in" in text and "400" in text


@pytest.mark.parametrize(
    ("control", "options"),
    [
        ("<doesBasinRoute> 0 !\n", {"does_basin_route": False}),
        ("<hw_drain_point> 1 !\n", {"top_of_headwaters": True}),
        ("<hw_drain_point> 1 !\n<doesBasinRoute> 0 ! both\n", {"top_of_headwaters": True, "does_basin_route": False}),
        ("<min_length_route> 2700 ! 2700 m is no more than that\n", {"min_length": 2700.0}),
    ],
)
def test_options_of_routing(tmp_path: Path, control: str, options: dict[str, Any]):
    path = make_folder(tmp_path, control)
    values = storms(80, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS)
    expected = truth(values, hru_ids(), **options)
    assert_same(route(convert(path)), expected)
    assert np.abs(expected - truth(values, hru_ids())).max() > 1e-3 * expected.max()  # the option counts


def test_what_newer_versions_hold_back_in_nearly_empty_reaches_is_little():
    """No more than 0.999 of what a reach holds leaves it in a step: no linear filter, and here it is not."""
    rain = storms(60, len(hru_ids()))
    stops = np.where(np.arange(60)[:, None] < 1, rain + 1e-4, 0.0)
    for values, dt, most in ((rain, 3600.0, 1e-12), (stops, 3600.0, 1e-8), (stops, 86_400.0, 5e-5)):
        for options in ({}, {"does_basin_route": False}):
            free, held = (truth(values, hru_ids(), dt, limited=limited, **options) for limited in (False, True))
            assert np.abs(free - held).max() <= most * free.max()


@pytest.mark.parametrize(
    ("of_runoff", "step", "start", "begins", "records", "stamp"),
    [
        (24.0, 3600, "1990-01-01 00:00:00", 0, 10, "start"), (24.0, 3600, "1990-01-03 06:00:00", 54, 10, "end"),
        (3.0, 3600, "", 0, 10, "middle"), (1.0, 10_800, "1990-01-01 03:00:00", 3, 24, "start"), (1.0, 10_800, "", 0, 24, "end"),
        (24.0, 86_400, "1990-01-02", 24, 10, "middle"), (1.0, 3600, "1989-12-31 20:00:00", 0, 24, "end"),
    ],
)  # fmt: skip
def test_runoff_comes_to_simulation_steps(
    tmp_path: Path, of_runoff: float, step: int, start: str, begins: float, records: int, stamp: str
):
    late = {"start": 0.0, "middle": 0.5, "end": 1.0}[stamp] * of_runoff
    text = f"<dt_qsim> {step} !\n<ro_time_stamp> {stamp} !\n" + (f"<sim_start> {start} !\n" if start else "")
    control = make_folder(tmp_path)
    control.write_text(control.read_text().replace("<dt_qsim>     3600          ! step\n", text))
    values = storms(records, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), np.arange(records) * of_runoff + late)
    dt, n = step / 3600, records * of_runoff
    edges = np.arange(begins, n - dt + 1e-9, dt)
    fine = np.repeat(values.astype(float), max(round(of_runoff), 1), axis=0)  # by hours
    means = np.array([fine[int(e) : int(e + dt)].mean(axis=0) for e in edges])
    paths = convert(control)
    assert_same(route(paths), truth(means, hru_ids(), float(step)))
    with xroute.io.open_dataset(paths["runoff"]) as runoff:
        first = runoff["time"].values[0]
        assert runoff["time"].dtype.kind == "O" and first.calendar == "noleap"
        moved = runoff.runoff.attrs["time_label"]
        back = {"start": 0.0, "middle": 0.5, "end": 1.0}[moved] * dt
        hours = (first - type(first)(1990, 1, 1)).total_seconds() / 3600 - back
        assert hours == pytest.approx(begins)


def test_several_files_in_a_list_or_by_a_pattern_and_the_end_of_the_run(tmp_path: Path):
    control = make_folder(tmp_path, "<sim_end> 1990-01-03 11:00:00 ! the last step begins\n")
    values, text = storms(80, len(hru_ids())), control.read_text()
    rng = np.random.default_rng(4)
    for k, part in enumerate(np.array_split(np.arange(80), 3)):
        order = rng.permutation(len(hru_ids()))  # each file has its own
        write_hru_runoff(tmp_path / "input" / f"part_{k}.nc", values[part][:, order], [hru_ids()[i] for i in order], HOURS[part])
    (tmp_path / "input" / "files.txt").write_text("! runoff\npart_1.nc\npart_0.nc\npart_2.nc\n")
    expected = truth(values[:60], hru_ids())
    for name in ("files.txt", "part_*.nc"):
        control.write_text(text.replace("runoff.nc ", f"{name} "))
        assert_same(route(convert(control)), expected)


def test_a_part_of_the_network(tmp_path: Path):
    control = make_folder(tmp_path, f"<seg_outlet> {BIG + 1} !\n")
    values = storms(60, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS[:60])
    paths = convert(control)
    network = network_of(paths["network"])
    assert set(network["reach"].values.tolist()) == {BIG + 1, 77} and network.sizes["hru"] == 3
    with xroute.io.open_dataset(paths["runoff"]) as runoff:
        found = runoff.runoff.route(network).sel(reach=BIG + 1).values
    assert_same(found, truth(values, hru_ids())[:, list(DOWN).index(BIG + 1)])
    control.write_text(control.read_text().replace(str(BIG + 1), "4321"))
    with pytest.raises(NetworkError, match="no segment 4321.*<seg_outlet>"):
        mizuroute.read_network(control)


def test_names_of_old_and_other_networks(tmp_path: Path):
    old = {"segId": "seg_id", "downSegId": "tosegment", "HRUid": "hru_id", "hruSegId": "seg_hru_id", "length": "Length"}
    old["seg"] = "sSeg"
    write_topology(tmp_path / "old.nc", old)
    write_topology(tmp_path / "new.nc")
    found, expected = mizuroute.read_network(tmp_path / "old.nc"), mizuroute.read_network(tmp_path / "new.nc")
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    odd = {"segId": "comid", "downSegId": "below", "area": "size", "hru": "unit", "slope": "gradient"}
    tags = "".join(f"<varname_{tag}> {name} !\n" for tag, name in odd.items() if tag != "hru") + "<dname_nhru> unit !\n"
    folder = tmp_path / "run"
    folder.mkdir()
    control = make_folder(folder, tags, names=odd)
    read = mizuroute.read_network(control)
    for name in ("downstream", "length", "slope", "area", "hru_reach", "width"):
        xr.testing.assert_equal(read[name], expected[name])
    assert read["width"].attrs["units"] == "m"
    write_topology(folder / "ancillary" / "ntopo.nc")
    with pytest.raises(NetworkError, match="no variable 'comid', which <varname_segId> names; it has"):
        mizuroute.read_network(control)


# ── runoff on other units ─────────────────────────────────────────────────────────────────────────────────────────────


def overlaps(seed: int = 5) -> dict[int, list[tuple[int, float]]]:
    """Of each HRU some of 12 cells, with weights in single precision that nearly sum to one, half of one, or none."""
    rng, found = np.random.default_rng(seed), {}
    for k, hru in enumerate([*hru_ids(), 555]):  # 555 is no HRU of the network
        cells = rng.choice(12, rng.integers(1, 5), replace=False)
        weights = rng.dirichlet(np.ones(cells.size)) * (0.5 if k == 2 else 1.0)
        found[hru] = [] if k == 3 else [(int(c), float(np.float32(w))) for c, w in zip(cells, weights, strict=True)]
    return found


Parts = dict[int, list[tuple[int, float]]]


def write_mapping(path: Path, parts: Parts, shape: tuple[int, int] | None, names: dict[str, str]) -> None:
    flat = [p for own in parts.values() for p in own]
    called = {n: names.get(n, n) for n in ("polyid", "overlaps", "weight", "overlapPolyId", "i_index", "j_index")}
    variables: dict[str, Any] = {
        called["polyid"]: ("i8", ("polyid",), list(parts), {}),
        called["overlaps"]: ("i4", ("polyid",), [len(own) for own in parts.values()], {}),
        called["weight"]: ("f4", ("data",), [w for _, w in flat], {}),
    }
    cells = np.array([c for c, _ in flat])
    if shape is None:
        variables[called["overlapPolyId"]] = ("i8", ("data",), cells + BIG, {})
    else:
        variables[called["i_index"]] = ("i4", ("data",), cells % shape[1] + 1, {})
        variables[called["j_index"]] = ("i4", ("data",), cells // shape[1] + 1, {})
    put(path, {"polyid": len(parts), "data": len(flat)}, variables)


@pytest.mark.parametrize("kind", ["grid", "permuted grid", "units"])
@pytest.mark.parametrize("gaps", [False, True])
@quiet
def test_runoff_on_a_grid_or_on_units_by_weights(tmp_path: Path, kind: str, gaps: bool):
    control = make_folder(tmp_path, "<is_remap> T !\n<fname_remap> remap.nc !\n<vname_weight> part !\n")
    parts, shape = overlaps(), None if kind == "units" else (3, 4)
    write_mapping(tmp_path / "ancillary" / "remap.nc", parts, shape, {"weight": "part"})
    values = storms(60, 12)
    if gaps:
        values[:, 1] = values[10:20, 4] = -9999.0
        values[3, 5], values[4, 6] = -1e-7, -0.5  # a little below nothing counts, and much does not
    time = ("f8", ("time",), HOURS[:60], {"units": "hr since 1990-01-01", "calendar": "NOLEAP"})  # as mizuRoute takes them, too
    fill = {"_FillValue": np.float32(-9999)}
    if kind == "units":
        order = np.random.default_rng(8).permutation(12)
        put(tmp_path / "input" / "runoff.nc", {"time": 60, "hru": 12}, {
            "time": time, "hru": ("i8", ("hru",), order + BIG, {}), "runoff": ("f4", ("time", "hru"), values[:, order], fill),
        })  # fmt: skip
    else:
        on, field = ("time", "lat", "lon"), values.reshape(60, 3, 4)
        if kind == "permuted grid":
            on, field = ("lon", "time", "lat"), field.transpose(2, 0, 1)
        axes = {"lat": ("f8", ("lat",), [50.0, 51, 52], {}), "lon": ("f8", ("lon",), [5.0, 6, 7, 8], {})}
        variables = {"time": time, **axes, "runoff": ("f4", on, field, fill)}
        put(tmp_path / "input" / "runoff.nc", {"time": 60, "lat": 3, "lon": 4}, variables)
    depths = [mapped(parts, dict(enumerate(map(float, np.where(row == -9999, -1.0, row))))) for row in values]
    own = river()
    expected = simulate(own, [reach_runoff(own, depth, 1e-3) for depth in depths], 3600.0)[0]
    assert_same(route(convert(control)), expected)


def test_weights_of_another_grid_are_refused(tmp_path: Path):
    control = make_folder(tmp_path, "<is_remap> T !\n<fname_remap> remap.nc !\n")
    write_mapping(tmp_path / "ancillary" / "remap.nc", overlaps(), (3, 4), {})
    time = ("f8", ("time",), HOURS[:5], {"units": "hours since 1990-01-01"})
    runoff = ("f4", ("time", "lat", "lon"), storms(5, 8).reshape(5, 4, 2), {})
    put(tmp_path / "input" / "runoff.nc", {"time": 5, "lat": 4, "lon": 2}, {"time": time, "runoff": runoff})
    with pytest.raises(AlignmentError, match="overlaps of .*remap.nc are beyond the 2 columns and 4 rows.*exchanged"):
        mizuroute.read_runoff(control, mizuroute.read_network(control))


def test_what_runoff_lacks_is_zero_and_told(tmp_path: Path):
    control = make_folder(tmp_path)
    values = storms(30, len(hru_ids()))
    values[5, 2], values[7, 3] = -9999.0, -2e-4
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values[:, 1:], hru_ids()[1:], HOURS[:30])  # declares no fill value
    network = mizuroute.read_network(control)
    with pytest.warns(UserWarning) as told:
        runoff = mizuroute.read_runoff(control, network).compute()
    text = " ".join(str(w.message) for w in told)
    assert "1 of 8 HRUs have no runoff" in text and "runoff is missing on 1 HRUs" in text and "negative on 1 HRUs" in text
    own = river()
    kept = np.where(values < -1, 0, values)[:, 1:].astype(float)
    flows = [reach_runoff(own, dict(zip(hru_ids()[1:], r, strict=True)), 1e-3) for r in kept]
    for reach in DOWN:
        np.testing.assert_allclose(runoff.sel(reach=reach), [flow[reach] for flow in flows], rtol=1e-12)


def test_a_fill_value_of_zero_is_no_other(tmp_path: Path):
    control = make_folder(tmp_path, "<input_fillvalue> 0 !\n")
    values = storms(30, len(hru_ids())) + np.float32(1e-6)
    values[5, 2], values[7, 3] = -9999.0, 0.0
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS[:30])
    with pytest.warns(UserWarning) as told:
        mizuroute.read_runoff(control, mizuroute.read_network(control)).compute()
    text = " ".join(str(w.message) for w in told)
    assert "runoff is missing on 1 HRUs" in text and "negative on 1 HRUs" in text


@pytest.mark.parametrize(
    ("units", "factor"),
    [("mm/s", 1.0), ("m/s", 1e3), ("mm/d", 1 / 86_400), ("mm/day", 1 / 86_400), ("m/h", 1e3 / 3600), ("mm/hr", 1 / 3600)],
)
def test_units_and_scale(tmp_path: Path, units: str, factor: float):
    control = make_folder(tmp_path, "<scale_factor_runoff> 2.0 !\n<offset_value_runoff> 0.5d-4 !\n")
    control.write_text(control.read_text().replace("mm/s", units))
    values = storms(5, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS[:5], units=units)
    runoff = mizuroute.read_runoff(control, mizuroute.read_network(control))
    own = river()
    flows = [reach_runoff(own, dict(zip(hru_ids(), 2 * r.astype(float) + 5e-5, strict=True)), factor * 1e-3) for r in values]
    for reach in DOWN:
        np.testing.assert_allclose(runoff.sel(reach=reach), [flow[reach] for flow in flows], rtol=1e-12)
    control.write_text(control.read_text().replace(units, "kg"))
    with pytest.raises(UnitsError, match="m or mm per second, hour or day.*'kg' .<units_qsim>"):
        mizuroute.read_runoff(control, mizuroute.read_network(control))


# ── what is wrong is told ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (("ntopo.nc", "other.nc"), FileNotFoundError, "<fname_ntopOld> is 'other.nc'.*<ancil_dir> './ancillary/'"),
        (("runoff.nc ", "nowhere.nc "), FileNotFoundError, "<fname_qsim> is 'nowhere.nc'"),
        (("runoff.nc ", "what_*.nc "), FileNotFoundError, "no file fits <fname_qsim> 'what_"),
        (("param.nml ", "none.nml "), FileNotFoundError, "<param_nml> is 'none.nml'"),
        (("3600 ", "an hour "), ParameterError, "<dt_qsim> is a number, not 'an hour'"),
        (("3600 ", "5000 "), ParameterError, "5000 s .<dt_qsim>. neither divides"),
        (("! a run", "a run"), XRouteError, "line 2 is neither <tag> value"),
        (("! a run", "<sim_start> tomorrow !"), TimeAxisError, "<sim_start> is a date such as"),
        (("! a run", "<sim_start> 1995-01-01 !"), TimeAxisError, "<sim_start> 1995-01-01.*there is no runoff"),
        (("! a run", "<sim_start> 1990-02-29 !"), TimeAxisError, "no date of the runoff's calendar"),
        (("! a run", "<is_remap> perhaps !"), ParameterError, "<is_remap> is T or F, not 'perhaps'"),
        (("! a run", "<ro_time_stamp> late !"), ParameterError, "<ro_time_stamp> is one of 'start'"),
        (("! a run", "<hw_drain_point> 3 !"), ParameterError, "<hw_drain_point> 1 or 2, not '1' and '3'"),
        (("! a run", "<vname_qsim> q !"), XRouteError, "no variable 'q'; it has.*<vname_qsim>"),
    ],
)
def test_a_control_file_with_a_fault(tmp_path: Path, change: tuple[str, str], error: type[Exception], text: str):
    control = make_folder(tmp_path)
    write_hru_runoff(tmp_path / "input" / "runoff.nc", storms(5, 8), hru_ids(), HOURS[:5])
    assert change[0] in control.read_text()
    control.write_text(control.read_text().replace(*change))
    with pytest.raises(error, match=text):
        mizuroute.read_runoff(control, mizuroute.read_network(control))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"segId": [1, 1, 2]}, "1 segments stand more than once in .*: 1"), ({"segId": [-1, 1, 2]}, "not above 0.*: -1"),
        ({"length": [1.0, np.nan, 3.0]}, "the length of 1 segments is missing: 2"), ({"hruSegId": [1, 2, 8]}, "HRUs 3 to 8"),
        ({"area": [1.0, -1.0, 2.0]}, "area of 1 HRUs is missing or negative: 2"),
        ({"HRUid": [1, 1, 2]}, "1 HRUs stand more than once"),
        ({"downSegId": None}, "no variable 'downSegId'"),
    ],
)  # fmt: skip
def test_a_network_with_a_fault(tmp_path: Path, change: dict[str, Any], text: str):
    good: dict[str, Any] = {"segId": [1, 2, 3], "downSegId": [2, 3, 0], "length": [1e3, 2e3, 3e3]}
    good |= {"HRUid": [1, 2, 3], "hruSegId": [1, 2, 3], "area": [1.0, 2, 3]}
    values = {name: v for name, v in (good | change).items() if v is not None}
    on = {n: ("hru" if n in ("HRUid", "hruSegId", "area") else "seg",) for n in values}
    kinds = {n: "f8" if n in ("length", "area") else "i4" for n in values}
    put(tmp_path / "bad.nc", {"seg": 3, "hru": 3}, {n: (kinds[n], on[n], v, {}) for n, v in values.items()})
    with pytest.raises(NetworkError, match=text):
        mizuroute.read_network(tmp_path / "bad.nc")


def test_lengths_of_nothing_are_what_mizuroute_makes_of_them(tmp_path: Path):
    values = {"segId": [1, 2], "downSegId": [2, 0], "length": [0.0, 2e3]}
    put(tmp_path / "n.nc", {"seg": 2}, {n: ("f8" if n == "length" else "i4", ("seg",), v, {}) for n, v in values.items()})
    with pytest.warns(UserWarning, match="length of 1 segments is 0 or less: 1. They are given 100 m"):
        assert mizuroute.read_network(tmp_path / "n.nc")["length"].values.tolist() == [100.0, 2000.0]


def test_runs_that_are_not_linear_are_told(tmp_path: Path):
    control = make_folder(tmp_path, "<route_opt> 5 !\n<is_lake_sim> T !\n")
    with pytest.warns(UserWarning) as told:
        mizuroute.read_network(control)
    text = " ".join(str(w.message) for w in told)
    assert "routes by diffusive wave (<route_opt> 5)" in text and "<is_lake_sim> (lakes)" in text


def test_a_misspelt_tag_and_one_twice_are_told(tmp_path: Path):
    control = make_folder(tmp_path, "<hw_drain_pont> 1 !\n<case_name> creek !\n")
    with pytest.warns(UserWarning) as told:
        mizuroute.read_network(control)
    text = " ".join(str(w.message) for w in told)
    assert "does not know, which are left out: '<hw_drain_pont>'" in text
    assert "<case_name> twice, 'brook' and then 'creek'" in text


def test_runoff_of_another_network_is_refused(tmp_path: Path):
    control = make_folder(tmp_path)
    write_hru_runoff(tmp_path / "input" / "runoff.nc", storms(5, 8), list(range(1000, 1008)), HOURS[:5])
    with pytest.raises(AlignmentError, match="none of the network's 8 HRUs is in .*runoff.nc, which has 1000"):
        mizuroute.read_runoff(control, mizuroute.read_network(control))


def test_the_command_says_what_it_needs(tmp_path: Path):
    write_topology(tmp_path / "ntopo.nc")
    result = CliRunner().invoke(main, ["convert", "mizuroute", str(tmp_path / "ntopo.nc"), "--runoff", str(tmp_path / "r.nc")])
    assert result.exit_code == 2 and "runoff needs the control file" in result.output
    folder = tmp_path / "run"
    folder.mkdir()
    make_folder(folder)
    write_hru_runoff(folder / "input" / "runoff.nc", storms(5, 8), hru_ids(), HOURS[:5])
    result = CliRunner().invoke(main, ["convert", "mizuroute", str(folder), "--network", str(tmp_path / "n.nc")])
    assert result.exit_code == 0
    assert "control brook.control, network ntopo.nc, parameters param.nml, 1 runoff files" in result.output


# ── history and restarts ──────────────────────────────────────────────────────────────────────────────────────────────


def write_history(path: Path, values: np.ndarray, ids: list[int], hours: np.ndarray, bounds: bool = True) -> None:
    variables: dict[str, Any] = {
        "time": ("f8", ("time",), hours, {"long_name": "time", "units": "hours since 1990-01-01 00:00:00", "calendar": "noleap"}),
        "reachID": ("i8", ("seg",), ids, {"long_name": "reach ID", "units": "-"}),
        "dlayRunoff": ("f4", ("time", "seg"), values * 0, {"units": "m3/s"}),
        "IRFroutedRunoff": ("f4", ("time", "seg"), values, {"units": "m3/s"}),
    }
    if bounds:
        variables["time_bounds"] = ("f8", ("time", "tbound"), np.stack([hours, hours + 1], axis=1), {})
    put(path, {"time": None, "tbound": 2, "seg": len(ids)}, variables)


@pytest.mark.parametrize("bounds", [True, False])
def test_its_history_is_read_to_compare_with(tmp_path: Path, bounds: bool):
    control = make_folder(tmp_path)
    values = storms(60, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS[:60])
    expected = truth(values, hru_ids())
    order = [3, 1, 0, 5, 4, 2]
    for k, part in enumerate(np.array_split(np.arange(60), 2)):
        name = f"brook.h.1990-01-0{k + 1}-00000.nc"
        write_history(tmp_path / "output" / name, expected[part][:, order], [list(DOWN)[i] for i in order], HOURS[part], bounds)
    (tmp_path / "output" / "brook.r.1990-01-03-00000.nc").write_bytes(b"no history")
    paths = convert(control, products=("network", "runoff", "discharge"))
    with xroute.io.open_dataset(paths["discharge"]) as theirs, xroute.io.open_dataset(paths["runoff"]) as runoff:
        assert theirs["discharge"].attrs["time_label"] == "start"
        ours = runoff.runoff.route(network_of(paths["network"]))
        assert theirs["reach"].values.tolist() == ours["reach"].values.tolist()
        assert (theirs["time"].values == ours["time"].values).all()
        assert float(abs(ours - theirs["discharge"]).max()) < 1e-6 * expected.max()


def write_restart(path: Path, queues: Any, own: Any, hours: float, order: list[int]) -> None:
    ids = [list(DOWN)[i] for i in order]
    n_reach = {r: len(reach_hydrograph(LENGTH[r], 3600.0, own.velo, own.diff)) for r in ids}
    future = np.full((max(n_reach.values()), len(ids)), -9999.0)
    for k, r in enumerate(ids):
        future[: n_reach[r], k] = queues.reach.get(r, [0.0] * n_reach[r])
    variables: dict[str, Any] = {
        "nNodes": ("i4", (), 1, {}), "reachID": ("i8", ("seg",), ids, {}),
        "restart_time": ("f8", (), hours, {"units": "hours since 1990-01-01 00:00:00", "calendar": "noleap"}),
        "basin_q": ("f8", ("seg",), [queues.basin_q[r] for r in ids], {}),
        "numQF": ("i4", ("seg",), [n_reach[r] for r in ids], {}), "irf_qfuture": ("f8", ("tdh_irf", "seg"), future, {}),
        "volume_irf": ("f8", ("seg",), [queues.volume.get(r, 0.0) for r in ids], {}),
    }
    dims = {"seg": len(ids), "tdh_irf": len(future)}
    if own.does_basin_route:
        dims["tdh"] = len(basin_hydrograph(3600.0, own.fshape, own.tscale))
        variables["qfuture"] = ("f8", ("tdh", "seg"), np.array([queues.basin[r] for r in ids]).T, {})
    put(path, dims, variables)


@pytest.mark.parametrize(
    "options",
    [{}, {"does_basin_route": False}, {"top_of_headwaters": True}, {"top_of_headwaters": True, "does_basin_route": False}],
)
def test_a_run_goes_on_from_its_restart(tmp_path: Path, options: dict[str, Any]):
    top, basin = 1 if "top_of_headwaters" in options else 2, 0 if "does_basin_route" in options else 1
    tags = f"<hw_drain_point> {top} !\n<doesBasinRoute> {basin} !\n"
    control = make_folder(tmp_path, tags + "<sim_start> 1990-01-02 16:00:00 !\n<fname_state_in> brook.r.nc !\n")
    values = storms(80, len(hru_ids()))
    write_hru_runoff(tmp_path / "input" / "runoff.nc", values, hru_ids(), HOURS)
    own = river(**options)
    flows = [reach_runoff(own, dict(zip(hru_ids(), row.astype(float), strict=True)), 1e-3) for row in values]
    _, queues = simulate(own, flows[:40], 3600.0)
    write_restart(tmp_path / "output" / "brook.r.nc", queues, own, 40.0, [2, 5, 1, 0, 4, 3])
    expected, _ = simulate(own, flows[40:], 3600.0, queues)
    paths = convert(control, products=("network", "runoff", "state"))
    found = route(paths, "--initial-state", str(paths["state"]))
    assert np.abs(found - expected).max() < 1e-11 * expected.max()
    assert np.abs(route(paths) - expected).max() > 1e-3 * expected.max()  # what was there counts

    network = mizuroute.read_network(control)
    state = mizuroute.read_state(tmp_path / "output" / "brook.r.nc", network)
    assert state.attrs["time"].startswith("1990-01-02 16:00:00")
    mizuroute.write_state(state, tmp_path / "again.nc", network, calendar="noleap")
    both = (xr.open_dataset(p, decode_cf=False) for p in (tmp_path / "again.nc", tmp_path / "output" / "brook.r.nc"))
    with next(both) as again, next(both) as first:
        place = [again["reachID"].values.tolist().index(r) for r in first["reachID"].values.tolist()]
        for name in set(first.variables) - {"restart_time", "nNodes", "reachID", "basin_q" if not own.does_basin_route else ""}:
            its, ours = first[name].values, again[name].values[..., place]
            np.testing.assert_allclose(ours, its, rtol=1e-9, atol=1e-10 * np.abs(its).max(), err_msg=name)
    with xr.open_dataset(paths["runoff"]) as runoff:
        export("mizuroute", tmp_path / "home", network=network, runoff=runoff["runoff"], state=state)
    with xr.open_dataset(tmp_path / "home" / "restart.nc", decode_cf=False) as restart:
        assert restart["restart_time"].attrs["calendar"] == "noleap"  # as its runoff


def test_a_restart_of_other_parameters_is_refused(tmp_path: Path):
    control = make_folder(tmp_path)
    own = river()
    flows = [reach_runoff(own, dict(zip(hru_ids(), row.astype(float), strict=True)), 1e-3) for row in storms(40, 8)]
    _, queues = simulate(own, flows, 3600.0)
    write_restart(tmp_path / "r.nc", queues, own, 40.0, list(range(6)))
    network = mizuroute.read_network(control)
    with xr.open_dataset(tmp_path / "r.nc") as opened:  # older versions have members, of which there is one
        old = opened.load().assign({n: opened[n].expand_dims(ens=1, axis=0) for n in ("irf_qfuture", "qfuture", "basin_q")})
    old.to_netcdf(tmp_path / "old.nc")
    xr.testing.assert_equal(*(mizuroute.read_state(tmp_path / name, network) for name in ("r.nc", "old.nc")))
    network = mizuroute.read_network(control, {"velo": 2.5, "diff": 5e3, "fshape": 2.5, "tscale": 2e4})
    with pytest.raises(xroute.StateError, match="irf_qfuture.*not what hydrographs of this network leave behind"):
        mizuroute.read_state(tmp_path / "r.nc", network)
    with pytest.raises(XRouteError, match="no restart of IRF"):
        mizuroute.read_state(tmp_path / "ancillary" / "ntopo.nc", mizuroute.read_network(control))
