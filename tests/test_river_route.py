"""river-route's set-ups, written by hand after its documentation, against its recurrence stepped in float64."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xroute
from xroute.exceptions import (
    AlignmentError,
    NetworkError,
    ParameterError,
    StateError,
    TimeAxisError,
    UnitsError,
    XRouteError,
)
from xroute.io import river_route as rr
from xroute.io.river_route.setup import READER

pytest.importorskip("yaml")
netCDF4 = pytest.importorskip("netCDF4")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

BIG, HUGE = 2**31 + 7, 2**53 + 1  # no int32, no double
IDS = np.array([12, BIG, 40, 9, HUGE, 31])
DOWN = np.array([40, 40, HUGE, HUGE, 31, -1])
K = np.array([5400.0, 3600, 7200, 9000, 4000, 8000])
X = np.array([0.25, 0.1, 0.2, 0.0, 0.3, 0.2])
VOLUME = np.random.default_rng(2).random((9, 6)) * 5e4  # m3 in three hours
Q0 = np.array([4.0, 1, 2, 0.5, 7, 3])
DT, DT_ROUTING, START = 10800, 1800, "2001-03-04 05:00:00"
COUNT = np.array([0, 0, 2, 0, 4, 5])


def coefficients(step: Any, k: Any = K, x: Any = X) -> tuple[Any, Any, Any]:
    below = step + 2 * k * (1 - x)
    return (step - 2 * k * x) / below, (step + 2 * k * x) / below, (2 * k * (1 - x) - step) / below


def routed(volume: np.ndarray, first: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """What version 2 computes: means of the ends of routing steps, in each of which discharge goes on; and the final state."""
    c1, c2, c3 = coefficients(step)
    flow, told = first.astype(float), []
    for water in volume:
        total = np.zeros(6)
        for _ in range(DT // step):
            before, flow = flow, flow.copy()
            for i in range(6):
                up = np.flatnonzero(DOWN == IDS[i])
                flow[i] = c1[i] * flow[up].sum() + c2[i] * before[up].sum() + c3[i] * before[i] + (c1 + c2)[i] * water[i] / DT
            total += flow
        told.append(total / (DT // step))
    return np.array(told), flow


def routed_3(volume: np.ndarray, first: np.ndarray, n_own: Any) -> np.ndarray:
    """What version 3 computes: discharge at the ends of steps of runoff, river by river, each in so many steps of its own."""
    n_own = np.broadcast_to(n_own, 6)
    told = np.concatenate([first[None], np.zeros(volume.shape)])
    for i in range(6):  # upstream before downstream
        c1, c2, c3 = coefficients(DT / n_own[i], K[i], X[i])
        inflow = told[:, DOWN == IDS[i]].sum(axis=1)
        for t in range(len(volume)):
            line = np.linspace(inflow[t], inflow[t + 1], n_own[i] + 1)
            flow = told[t, i]
            for before, after in zip(line, line[1:], strict=False):
                flow = c1 * after + c2 * before + c3 * flow + (c1 + c2) * volume[t, i] / DT
            told[t + 1, i] = flow
    return told[1:]


def table(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def network2(path: Path, at: Any = slice(None)) -> Path:
    return table(path, river_id=IDS[at], downstream_river_id=DOWN[at], k=K[at], x=X[at])


def network3(path: Path) -> Path:
    return table(
        path, riverId=IDS, nextRiverId=DOWN, muskingumK=K, muskingumX=X, riverIndex=np.arange(6, dtype=np.int32),
        upstreamCount=COUNT.astype(np.int32),
    )  # fmt: skip


def netcdf(
    path: Path, name: str, values: np.ndarray, dims: tuple[str, str], ids: np.ndarray | None = IDS, kind: str = "f8",
    units: str | None = "m3", times: Any = None, id_kind: str = "i8", fill: float | None = None, **others: Any,
) -> Path:  # fmt: skip
    """A file of series as river-route lays it out: times in seconds since the first."""
    river, n = next(d for d in dims if d != "time"), values.shape[dims.index("time")]
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", n)
        file.createDimension(river, values.shape[dims.index(river)])
        time = file.createVariable("time", "f8", ("time",))
        time.units = f"seconds since {START}"
        time[:] = np.arange(n) * DT if times is None else times
        if ids is not None:
            numbers = ids.astype(np.uint32).astype(np.int32) if id_kind == "i4" else ids
            file.createVariable(river, id_kind, (river,))[:] = numbers
        main = file.createVariable(name, kind, dims, fill_value=fill)
        if units is not None:
            main.units = units
        main[:] = values if fill is None else np.where(np.isnan(values), fill, values)
        for other, numbers in others.items():
            variable = file.createVariable(other, "f4", (river,))
            variable.units, variable[:] = "m2", numbers
    return path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder of version 2, with what it computed."""
    network2(tmp_path / "params.parquet")
    netcdf(tmp_path / "qlateral.nc", "qlateral", VOLUME, ("time", "river_id"))
    table(tmp_path / "init.parquet", Q=Q0.astype(np.float32))
    means, final = routed(VOLUME, Q0, DT_ROUTING)
    (tmp_path / "out").mkdir()
    netcdf(tmp_path / "out" / "discharge_qlateral.nc", "Q", means, ("time", "river_id"), kind="f4", units="m3 s-1", id_kind="i4")
    table(tmp_path / "final.parquet", Q=final.astype(np.float32))
    (tmp_path / "config.yaml").write_text(
        "# comment\nparams_file: 'params.parquet'\nqlateral_files:\n  - ./qlateral.nc\ndischarge_dir: out\n"
        "channel_state_init_file: init.parquet\nchannel_state_final_file: final.parquet\ndt_routing: 1800\ndt_runoff: 0\n"
        "grid_runoff_files:\n  - ''\ngrid_weights_file: ''\nlog: false\n"
    )
    return tmp_path


def convert(*arguments: Any) -> Any:
    from click.testing import CliRunner

    from xroute.cli import main

    return CliRunner().invoke(main, ["convert", "river-route", *map(str, arguments)])


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_alone_gives_discharge_and_final_state_of_version_2(two: Path, tmp_path_factory: Any) -> None:
    to = tmp_path_factory.mktemp("ours")
    outputs = [f"--{name}={to / name}.nc" for name in ("network", "runoff", "state", "discharge")]
    result = convert(two / "config.yaml", *outputs)
    assert result.exit_code == 0, result.output
    opened = {name: xroute.io.open_dataset(to / f"{name}.nc") for name in ("network", "runoff", "discharge")}
    discharge, state = opened["runoff"].runoff.route(opened["network"], initial_state=to / "state.nc", return_state=True)
    means, final = routed(VOLUME, Q0, DT_ROUTING)
    assert discharge["reach"].values.tolist() == IDS.tolist()
    np.testing.assert_allclose(discharge.transpose("time", "reach"), means, rtol=1e-12)
    np.testing.assert_allclose(state["outflow"], final, rtol=1e-12)
    assert discharge["time"].values[0] == np.datetime64(START) and state.attrs["time"] == "2001-03-05T08:00:00"
    theirs = opened["discharge"].discharge  # its ids were cut to 32 bits
    assert theirs["reach"].values.tolist() == IDS.tolist()
    np.testing.assert_allclose(theirs, means, rtol=1e-6)


@pytest.mark.parametrize("units", ["m3", "mm", "m"])
def test_version_3_with_depths_and_areas(tmp_path: Path, units: str) -> None:
    network3(tmp_path / "network.parquet")
    areas = np.array([1e6, 2e6, 3e6, 4e6, 5e6, 6e6])
    values = VOLUME.T if units == "m3" else VOLUME.T / areas[:, None] * (1000 if units == "mm" else 1)
    others = {} if units == "m3" else {"catchment_area": areas}
    netcdf(tmp_path / "forcing.nc", "catchment_runoff", values, ("riverId", "time"), units=units, **others)
    table(tmp_path / "init.parquet", riverId=IDS, Q=Q0)
    config = {
        "network_file": "network.parquet", "forcing": "catchment", "forcing_files": "forcing.nc", "dt_routing": DT,
        "channel_state_init_file": str(tmp_path / "init.parquet"), "discharge_files": ["./Q.zarr"], "grid_weights_file": None,
        "use_subcycles": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    network = rr.read_network(tmp_path)
    assert {n: network.attrs.get(n) for n in ("scheme", "lateral", "sampling", "routing_step")} == {
        "scheme": "river_route_3", "lateral": "interval", "sampling": "last", "routing_step": None,
    }  # fmt: skip
    runoff = rr.read_runoff(tmp_path, network)
    begin = xroute.initial_state(network, rr.read_state(tmp_path, network), dt=DT)
    discharge, state = runoff.route(network, initial_state=begin, return_state=True)
    told = routed_3(VOLUME, Q0, 1)
    np.testing.assert_allclose(discharge.transpose("time", "reach"), told, rtol=1e-12)
    np.testing.assert_allclose(state["outflow"], told[-1], rtol=1e-12)
    np.testing.assert_allclose(told, routed(VOLUME, Q0, DT)[0], rtol=1e-12)  # with one routing step both versions are one


@pytest.mark.parametrize(
    ("stated", "n_own"),
    [
        ({"dt_routing": 1200, "use_subcycles": False}, 9),
        ({"dt_routing": 3600}, 3 * np.array([1, 1, 1, 1, 1, 1])),
        ({"dt_routing": DT}, np.ceil(DT / (2 * K * (1 - X))).astype(int)),  # in equal parts where a river is too short for it
        ({}, np.ceil(DT / (2 * K * (1 - X))).astype(int)),
        ({"dt_routing": "auto"}, np.ceil(DT / (2 * K * (1 - X))).astype(int)),
    ],
    ids=str,
)
def test_version_3_steps_each_river_on_its_own(tmp_path: Path, stated: dict[str, Any], n_own: Any) -> None:
    network3(tmp_path / "network.parquet")
    netcdf(tmp_path / "forcing.nc", "catchment_runoff", VOLUME.T, ("riverId", "time"))
    config = {"network_file": "network.parquet", "forcing": "catchment", "forcing_files": ["forcing.nc"], **stated}
    (tmp_path / "config.json").write_text(json.dumps(config | {"use_subreaches": False}))
    setup = READER.read([tmp_path], ["network", "runoff"], **options())
    assert setup.runoff is not None and max(np.broadcast_to(n_own, 6)) > 1
    begin = xroute.initial_state(setup.network, xr.DataArray(Q0, {"reach": IDS}), dt=DT)
    discharge, state = setup.runoff["runoff"].route(setup.network, initial_state=begin, return_state=True)
    told = routed_3(VOLUME, Q0, n_own)
    np.testing.assert_allclose(discharge.transpose("time", "reach"), told, rtol=1e-11)
    np.testing.assert_allclose(state["outflow"], told[-1], rtol=1e-11)
    made = xroute.io.export("river-route", tmp_path / "home", network=setup.network, runoff=setup.runoff["runoff"], version="3")
    assert "config.json" in made
    again = rr.read_network(tmp_path / "home")
    assert again.attrs["scheme"] == "river_route_3"
    np.testing.assert_allclose(again["own_step"].sel(reach=IDS), setup.network["own_step"].sel(reach=IDS), rtol=1e-12)
    rr.write_state(state, tmp_path / "state.parquet", setup.network, version=3)
    np.testing.assert_array_equal(rr.read_state(tmp_path / "state.parquet", setup.network), state["outflow"])


def test_rivers_that_version_3_splits_are_told(tmp_path: Path) -> None:
    network3(tmp_path / "network.parquet")
    (tmp_path / "config.json").write_text(json.dumps({"network_file": "network.parquet", "dt_routing": 600}))
    with pytest.warns(UserWarning, match="splits 5 rivers that are too long for a step of 600 s"):
        rr.read_network(tmp_path)


def test_everything_is_matched_by_id(two: Path) -> None:
    order = np.array([3, 5, 0, 4, 2, 1])
    network2(two / "params.parquet", order)
    mixed = np.array([5, 1, 3, 0, 2, 4])
    netcdf(two / "qlateral.nc", "qlateral", VOLUME[:, mixed], ("time", "river_id"), ids=IDS[mixed])
    network = rr.read_network(two)
    assert network["reach"].values.tolist() == IDS[order].tolist()
    runoff = rr.read_runoff(two, network)
    assert runoff["reach"].values.tolist() == IDS[order].tolist()
    np.testing.assert_array_equal(runoff, VOLUME[:, order])
    np.testing.assert_array_equal(rr.read_runoff(two / "qlateral.nc")["reach"], IDS[mixed])
    part = network.isel(reach=[4, 0])
    np.testing.assert_array_equal(rr.read_runoff(two, part), VOLUME[:, [2, 3]])
    np.testing.assert_array_equal(rr.read_state(two, part), Q0[[4, 0]])  # which has the order of the table


def test_series_of_several_files_follow_one_another(two: Path) -> None:
    mixed = np.array([5, 1, 3, 0, 2, 4])
    netcdf(two / "z_first.nc", "qlateral", VOLUME[:4], ("time", "river_id"))
    netcdf(two / "a_second.nc", "qlateral", VOLUME[4:, mixed], ("time", "river_id"), IDS[mixed], times=np.arange(4, 9) * DT)
    text = (two / "config.yaml").read_text().replace("  - ./qlateral.nc", "  - ./a_second.nc\n  - ./z_first.nc")
    (two / "config.yaml").write_text(text)
    np.testing.assert_array_equal(rr.read_runoff(two, rr.read_network(two)), VOLUME)
    text += "runoff_processing_mode: ensemble\n"
    (two / "config.yaml").write_text(text)
    with pytest.raises(TimeAxisError, match="members have the same times"):
        rr.read_runoff(two)
    netcdf(two / "a_second.nc", "qlateral", VOLUME[:4, mixed] * 2, ("time", "river_id"), IDS[mixed])
    members = rr.read_runoff(two)
    assert members.dims == ("member", "time", "reach") and members["member"].values.tolist() == ["a_second", "z_first"]
    np.testing.assert_array_equal(members.sel(member="a_second", reach=IDS), 2 * VOLUME[:4])
    np.testing.assert_array_equal(members.sel(member="z_first", reach=IDS), VOLUME[:4])


def test_files_without_ids_have_the_order_of_the_table(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    netcdf(two / "qlateral.nc", "qlateral", VOLUME, ("time", "river_id"), ids=None, units=None)
    network = rr.read_network(two)
    caplog.set_level(logging.INFO)
    part = rr.read_runoff(two, network.isel(reach=[3, 1]))
    assert "names no ids" in caplog.text and part.attrs["units"] == "m3"
    np.testing.assert_array_equal(part, VOLUME[:, [3, 1]])
    with pytest.raises(AlignmentError, match=r"names no ids.*read_network"):
        rr.read_runoff(two)
    netcdf(two / "qlateral.nc", "qlateral", VOLUME[:, :5], ("time", "river_id"), ids=None)
    with pytest.raises(AlignmentError, match="5 rivers; the table of the network had 6"):
        rr.read_runoff(two, network)


def test_ids_beside_the_dimension_and_fill_values(tmp_path: Path) -> None:
    gaps = np.where(VOLUME > 4e4, np.nan, VOLUME)
    path = netcdf(tmp_path / "q.nc", "qlateral", gaps, ("time", "river"), ids=None, fill=-9999.0)
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("river_id", "i8", ("river",))[:] = IDS
    runoff = rr.read_runoff(path)
    assert runoff["reach"].values.tolist() == IDS.tolist()
    np.testing.assert_array_equal(runoff, gaps)


def test_folders_without_a_configuration_are_told_by_content(two: Path) -> None:
    (two / "config.yaml").rename(two / "other.txt")
    (two / "unrelated.json").write_text("[1]")
    found = rr.find_files(two)
    assert found["network"].name == "params.parquet" and [f.name for f in found["runoff"]] == ["qlateral.nc"]
    assert found["state"].name == "init.parquet"  # of two that are states
    network2(two / "again.parquet")
    with pytest.raises(XRouteError, match="could be the network: 'again.parquet', 'params.parquet'"):
        rr.find_files(two)


def test_channels_that_empty_themselves(tmp_path: Path) -> None:
    network2(tmp_path / "params.parquet")
    table(tmp_path / "init.parquet", Q=Q0)
    (tmp_path / "config.yml").write_text(
        f"params_file: params.parquet\nchannel_state_init_file: init.parquet\ndt_routing: {DT_ROUTING}\ndt_discharge: {DT}\n"
        f"dt_total: {4 * DT}\nstart_datetime: '2001-03-04'\ndischarge_dir: .\n"
    )
    setup = READER.read([tmp_path / "config.yml"], ["network", "runoff", "state"], **options())
    discharge = setup.runoff["runoff"].route(setup.network, initial_state=setup.state)
    np.testing.assert_allclose(discharge.transpose("time", "reach"), routed(np.zeros((4, 6)), Q0, DT_ROUTING)[0], rtol=1e-12)
    assert discharge["time"].values[0] == np.datetime64("2001-03-04")


def options(**given: Any) -> dict[str, Any]:
    """Options of the reader as the command gives them."""
    return {o.name: () if o.several else o.default for o in READER.options} | given


@pytest.mark.parametrize("version", [2, 3])
def test_runoff_on_a_grid(tmp_path: Path, version: int) -> None:
    rows, columns = 3, 4
    depth = np.random.default_rng(3).random((5, rows, columns)) * 1e-3
    river = np.repeat(IDS, 2)
    x_index, y_index = np.arange(12) % columns, np.arange(12) // columns
    area = 1e6 * (1 + np.arange(12.0))
    lon, lat = 7.0 + np.arange(columns), 50.0 - np.arange(rows)
    weights = xr.Dataset(
        {
            "river_id" if version == 2 else "riverId": ("index", river), "x_index": ("index", x_index),
            "y_index": ("index", y_index), "x": ("index", lon[x_index]), "y": ("index", lat[y_index]),
            "area_sqm": ("index", area), "proportion": ("index", area / np.repeat(np.add.reduceat(area, np.arange(0, 12, 2)), 2)),
        }
    )  # fmt: skip
    weights.to_netcdf(tmp_path / "weights.nc")
    time = pd.date_range(START, periods=5, freq="3h")
    total = np.cumsum(depth, axis=0) * 1000
    grid = xr.DataArray(total, {"valid": time, "north": lat, "east": lon}, name="runoff", attrs={"units": "mm"})
    grid.transpose("north", "valid", "east").to_dataset().to_netcdf(tmp_path / "era.nc")
    values = {"grid_weights_file": "weights.nc", "var_x": "east", "var_y": "north", "var_t": "valid", "dt_routing": DT}
    if version == 2:
        network2(tmp_path / "net.parquet")
        values |= {"params_file": "net.parquet", "grid_runoff_files": ["era.nc"], "var_grid_runoff": "runoff",
                   "grid_accumulation_type": "cumulative"}  # fmt: skip
    else:
        network3(tmp_path / "net.parquet")
        values |= {"network_file": "net.parquet", "forcing_files": ["era.nc"], "forcing": "grid", "var_runoff": "runoff",
                   "accumulation_type": "cumulative"}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(values))
    setup = READER.read([tmp_path], ["network", "runoff"], **options())
    expected = np.add.reduceat(depth[:, y_index, x_index] * area, np.arange(0, 12, 2), axis=1)
    np.testing.assert_allclose(setup.runoff["runoff"], expected, rtol=1e-9)
    assert setup.runoff["runoff"].attrs["units"] == "m3" and setup.runoff["time"].values[0] == np.datetime64(START)
    np.testing.assert_allclose(setup.network["area"], np.add.reduceat(area, np.arange(0, 12, 2)))

    to = tmp_path / "again.nc"
    rr.write_weights(tmp_path / "weights.nc", to, setup.network, version=version)
    with xr.open_dataset(to) as mine:
        assert mine["river_id" if version == 2 else "riverId"].values.tolist() == river.tolist()
        assert mine["x_index"].values.tolist() == x_index.reshape(6, 2)[:, ::-1].ravel().tolist()  # the largest first
        np.testing.assert_allclose(mine["proportion"].values.reshape(6, 2).sum(axis=1), 1.0)
        assert set(mine.variables) == {"index", *weights.variables}


def test_runoff_of_cells_along_one_dimension(tmp_path: Path) -> None:
    """As version 3 has them of reduced grids: weights with cell_index."""
    columns: dict[str, Any] = {"riverId": [12, 12, BIG], "cell_index": [3, 0, 1], "area_sqm": [1e6, 2e6, 3e6]}
    columns |= {"x": [1.0, 2, 3], "y": [4.0, 5, 6], "proportion": [1 / 3, 2 / 3, 1.0]}
    xr.Dataset({n: ("index", v) for n, v in columns.items()}).to_netcdf(tmp_path / "w.nc")
    depth = np.arange(8.0).reshape(2, 4)
    time = pd.date_range(START, periods=2, freq="3h")
    xr.Dataset({"ro": (("time", "cell"), depth, {"units": "mm"})}, {"time": time}).to_netcdf(tmp_path / "ro.nc")
    runoff = rr.read_runoff(tmp_path / "ro.nc", weights=tmp_path / "w.nc")
    assert runoff["reach"].values.tolist() == [12, BIG]
    np.testing.assert_allclose(runoff, np.stack([depth[:, 3] * 1e3 + depth[:, 0] * 2e3, depth[:, 1] * 3e3], axis=1))


def test_rivers_that_version_3_has_split_share_their_runoff(tmp_path: Path) -> None:
    # river 7 is three rows, two of them added upstream of it
    table(
        tmp_path / "n.parquet", riverId=[101, 102, 7, 8], nextRiverId=[102, 7, 8, -1], muskingumK=[100.0, 200.0, 100.0, 50.0],
        muskingumX=[0.1, 0.1, 0.1, 0.1], riverIndex=np.arange(4, dtype=np.int32), upstreamCount=np.array([0, 1, 2, 3], np.int32),
        synthetic=[True, True, False, False], parentRiverId=[7, 7, 7, 8],
    )  # fmt: skip
    netcdf(tmp_path / "f.nc", "catchment_runoff", np.array([[8.0, 4.0], [1.0, 2.0]]), ("riverId", "time"), np.array([7, 8]))
    network = rr.read_network(tmp_path)
    runoff = rr.read_runoff(tmp_path, network)
    assert runoff["reach"].values.tolist() == [101, 102, 7, 8]
    np.testing.assert_allclose(runoff, [[2, 4, 2, 1], [1, 2, 1, 2]])
    told = netcdf(tmp_path / "Q.nc", "Q", np.ones((2, 2)), ("riverId", "time"), np.array([8, 7]), units="m3 s-1")
    assert rr.read_discharge(told, network)["reach"].values.tolist() == [7, 8]


def test_states_of_sub_reaches(tmp_path: Path) -> None:
    path = table(tmp_path / "s.parquet", riverId=[12, 12, 12, BIG], Q=[9.0, 8, 7, 5])
    with pytest.warns(UserWarning, match="4 rows for 2 rivers"):
        state = rr.read_state(path)
    assert state["reach"].values.tolist() == [12, BIG] and state.values.tolist() == [7, 5]


def test_unit_hydrographs_become_ordinates(two: Path) -> None:
    import scipy.sparse

    area = 1e6 * np.arange(1, 7)
    kernel = np.array([[0.25], [0.5], [0.25]]) * area / DT
    scipy.sparse.save_npz(two / "kernel.npz", scipy.sparse.csr_matrix(kernel))
    with open(two / "config.yaml", "a") as file:
        file.write("uh_kernel_file: kernel.npz\ndt_runoff: 10800\n")
    (two / "config.yaml").write_text((two / "config.yaml").read_text().replace("dt_runoff: 0\n", ""))
    network = rr.read_network(two).isel(reach=[2, 0])
    hillslope = rr.read_hillslope(two, network)
    np.testing.assert_allclose(hillslope, [[0.25, 0.5, 0.25]] * 2)
    np.testing.assert_allclose(hillslope["area"], area[[2, 0]])
    setup = READER.read([two], ["network"], **options())
    np.testing.assert_allclose(setup.network["area"], area)


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def river() -> xr.Dataset:
    """A network in no order, with a mouth first, k in hours, and what no column of river-route's is for."""
    order = np.array([5, 0, 4, 2, 3, 1])
    return xr.Dataset(
        {
            "downstream": ("reach", np.where(DOWN < 0, 0, DOWN)[order]),
            "k": ("reach", K[order] / 3600, {"units": "h"}),
            "x": ("reach", X[order]),
            "area": ("reach", (1.0 + np.arange(6))[order], {"units": "km2"}),
            "name": ("reach", np.array(list("abcdef"))[order]),
        },
        {"reach": IDS[order]},
        {"scheme": "muskingum", "lateral": "interval", "routing_step": DT_ROUTING},
    )


@pytest.mark.parametrize("version", [2, 3])
def test_networks_are_written_in_order_and_read_again(tmp_path: Path, river: xr.Dataset, version: int) -> None:
    path = tmp_path / "net.parquet"
    rr.write_network(river, path, version=version)
    written = pd.read_parquet(path)
    ids, down, k = ("river_id", "downstream_river_id", "k") if version == 2 else ("riverId", "nextRiverId", "muskingumK")
    place = {i: row for row, i in enumerate(written[ids].tolist())}
    assert written[ids].dtype == written[down].dtype == np.int64 and set(place) == set(IDS.tolist())
    assert all(d == -1 or place[d] > place[i] for i, d in zip(written[ids], written[down], strict=True))
    assert dict(zip(written[ids], written[down], strict=True)) == dict(zip(IDS.tolist(), DOWN.tolist(), strict=True))
    np.testing.assert_allclose(written.set_index(ids)[k].loc[IDS], K, rtol=1e-15)
    if version == 3:
        assert written["riverIndex"].tolist() == list(range(6)) and written["riverIndex"].dtype == np.int32
        count = written.set_index(ids)["upstreamCount"]
        assert count.loc[IDS].tolist() == COUNT.tolist() and count.dtype == np.int32
        for row, (i, n) in enumerate(zip(written[ids], written["upstreamCount"], strict=True)):
            up = {i}
            while True:  # all that drains to it
                more = up | {r for r, d in zip(IDS.tolist(), DOWN.tolist(), strict=True) if d in up}
                if more == up:
                    break
                up = more
            assert set(written[ids][row - n : row + 1]) == up
    again = rr.read_network(path).sel(reach=river["reach"])
    np.testing.assert_allclose(again["k"], river["k"] * 3600, rtol=1e-15)
    assert again["area"].attrs["units"] == "km2" and again["area"].equals(river["area"].drop_attrs())
    assert again["name"].values.tolist() == river["name"].values.tolist()


def test_rows_that_are_in_order_are_left_as_they_are(two: Path, tmp_path: Path) -> None:
    order = [3, 0, 1, 2, 4, 5]
    network2(two / "params.parquet", order)
    rr.write_network(rr.read_network(two), tmp_path / "again.parquet")
    assert pd.read_parquet(tmp_path / "again.parquet")["river_id"].tolist() == IDS[order].tolist()


@pytest.mark.parametrize("version", [2, 3])
def test_series_and_states_are_written_in_the_order_of_the_network(tmp_path: Path, river: xr.Dataset, version: int) -> None:
    rr.write_network(river, tmp_path / "net.parquet", version=version)
    order = pd.read_parquet(tmp_path / "net.parquet").iloc[:, 0].to_numpy()
    time = pd.date_range(START, periods=9, freq="3h")
    volume = xr.DataArray(VOLUME, {"time": time, "reach": IDS}, attrs={"units": "m3", "time_label": "end"})
    mixed = volume.isel(reach=[3, 0, 5, 2, 4, 1])
    rr.write_runoff(mixed.transpose("reach", "time"), tmp_path / "r.nc", river, version=version)
    expected = volume.sel(reach=order).values
    with netCDF4.Dataset(tmp_path / "r.nc") as file:
        if version == 2:
            assert file["qlateral"].dimensions == ("time", "river_id") and file["river_id"][:].tolist() == order.tolist()
            np.testing.assert_array_equal(file["qlateral"][:], expected)
        else:
            assert file["catchment_runoff"].dimensions == ("riverId", "time") and file["riverId"].dtype == np.int64
            np.testing.assert_array_equal(file["catchment_runoff"][:], expected.T)
            assert file["catchment_area"].units == "m2"
            np.testing.assert_allclose(file["catchment_area"][:], river["area"].sel(reach=order) * 1e6)
        assert file["time"].units == f"seconds since {START}" and file["time"][:].tolist() == (np.arange(9) * DT).tolist()
    again = rr.read_runoff(tmp_path / "r.nc", river)
    assert again.sel(reach=IDS).equals(volume.drop_attrs()) and again.attrs["time_label"] == "end"
    discharge, state = volume.route(river, return_state=True)
    rr.write_state(state, tmp_path / "s.parquet", river, version=version)
    stored = pd.read_parquet(tmp_path / "s.parquet")
    assert list(stored) == (["Q"] if version == 2 else ["riverId", "Q"])
    np.testing.assert_array_equal(stored["Q"], state["outflow"].sel(reach=order))
    network = rr.read_network(tmp_path / "net.parquet")
    assert rr.read_state(tmp_path / "s.parquet", network).sel(reach=IDS).equals(state["outflow"].sel(reach=IDS).drop_attrs())
    path = tmp_path / ("q.nc" if version == 2 else "q.zarr")
    rr.write_discharge(discharge, path, river, version=version)
    read = rr.read_discharge(path, river)
    np.testing.assert_array_equal(read, discharge.sel(reach=river["reach"]).transpose("time", "reach").astype("f4"))
    dims = ("time", "river_id") if version == 2 else ("riverId", "time")
    with xr.open_dataset(path) if version == 2 else xr.open_zarr(path) as plain:
        assert plain["Q"].dims == dims and plain["Q"].dtype == np.float32
        assert plain["Q"].attrs["units"] == "m3 s-1" and (plain["time"].values == time.values).all()


def test_fluxes_and_depths_are_written_as_volumes(tmp_path: Path, river: xr.Dataset) -> None:
    time = pd.date_range(START, periods=9, freq="3h")
    flux = xr.DataArray(VOLUME / DT, {"time": time, "reach": IDS}, attrs={"units": "m3 s-1"})
    depth = xr.DataArray(VOLUME / (1e6 * np.arange(1, 7)) * 8000, {"time": time, "reach": IDS}, attrs={"units": "mm d-1"})
    for n, runoff in enumerate((flux, depth)):
        rr.write_runoff(runoff, tmp_path / f"{n}.nc", river)
        np.testing.assert_allclose(rr.read_runoff(tmp_path / f"{n}.nc").sel(reach=IDS), VOLUME, rtol=1e-12)
    rr.write_runoff(flux.chunk(time=2), tmp_path / "lazy.nc", river)
    np.testing.assert_allclose(rr.read_runoff(tmp_path / "lazy.nc").sel(reach=IDS), VOLUME, rtol=1e-12)
    with pytest.raises(UnitsError, match="'area'"):
        rr.write_runoff(depth, tmp_path / "x.nc", river.drop_vars("area"))
    with pytest.raises(FileExistsError):
        rr.write_runoff(flux, tmp_path / "0.nc", river)
    with pytest.warns(UserWarning, match="1 values of runoff are NaN"):
        rr.write_runoff(flux.where(flux != flux[3, 2]), tmp_path / "gap.nc", river)


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_networks_that_river_route_cannot_hold(tmp_path: Path, river: xr.Dataset) -> None:
    path = tmp_path / "n.parquet"
    text = river.assign_coords(reach=river["reach"].astype(str)).assign(downstream=river["downstream"].astype(str))
    with pytest.raises(NetworkError, match="whole numbers, and these are text"):
        rr.write_network(text, path)
    with pytest.raises(NetworkError, match="-1 marks outlets"):
        rr.write_network(river.assign_coords(reach=np.where(river["reach"] == 9, -1, river["reach"])), path)
    with pytest.raises(ParameterError, match="linear_storage"):
        rr.write_network(river.assign(tau=river["k"]).assign_attrs(scheme="linear_storage"), path)
    links = {"upstream_reach": ("link", [1, 1]), "downstream_reach": ("link", [2, 3]), "fraction": ("link", [0.5, 0.5])}
    parts = xr.Dataset({**links, "k": ("reach", [1.0] * 3), "x": ("reach", [0.1] * 3)}, {"reach": [1, 2, 3]})
    with pytest.raises(NetworkError, match="drain to several"):
        rr.write_network(parts, path)
    with pytest.raises(ParameterError, match="version is one of river-route's: 2, 3"):
        rr.write_network(river, path, version=1)
    assert not list(tmp_path.iterdir())


def test_states_that_river_route_cannot_hold(tmp_path: Path, river: xr.Dataset) -> None:
    path = tmp_path / "s.parquet"
    time = pd.date_range(START, periods=9, freq="3h")
    volume = xr.DataArray(VOLUME, {"time": time, "reach": IDS}, attrs={"units": "m3"})
    _, head = volume.route(river, lateral="head", return_state=True)
    with pytest.raises(StateError, match="lateral='head'"):
        rr.write_state(head, path, river)
    _, slow = volume.route(river, hillslope=[0.5, 0.5], return_state=True)
    with pytest.raises(StateError, match="hillslope"):
        rr.write_state(slow, path, river)
    _, members = volume.expand_dims(member=2).route(river, return_state=True)
    with pytest.raises(StateError, match="one of its members"):
        rr.write_state(members, path, river)
    _, other = volume.isel(reach=slice(1, None)).route(river, missing="zero", return_state=True)
    with pytest.raises(StateError, match="12"):
        rr.write_state(other["outflow"].drop_sel(reach=12), path, river)
    with pytest.raises(StateError, match=r"not finite on 1 reaches: 12"):
        rr.write_state(other["outflow"].where(other["reach"] != 12), path, river)


@pytest.mark.parametrize(
    ("times", "match"),
    [
        (xr.date_range("2001-01-01", periods=9, freq="3h", calendar="noleap", use_cftime=True), "standard calendar"),
        (pd.date_range("2001-01-01 00:00:00.5", periods=9, freq="3h"), "whole seconds"),
        (np.arange(9), "not dates but int64"),
        (pd.DatetimeIndex([*pd.date_range("2001-01-01", periods=8, freq="3h"), "2001-02-01"]), "regular|2001-02-01"),
    ],
)
def test_times_that_river_route_cannot_hold(tmp_path: Path, river: xr.Dataset, times: Any, match: str) -> None:
    runoff = xr.DataArray(VOLUME, {"time": times, "reach": IDS}, attrs={"units": "m3"})
    with pytest.raises(TimeAxisError, match=match):
        rr.write_runoff(runoff, tmp_path / "r.nc", river)


def test_what_is_wrong_is_named(two: Path, tmp_path_factory: Any) -> None:
    network = rr.read_network(two)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(NetworkError, match="no network of river-route: it has 'Q'"):
        rr.read_network(two / "init.parquet")
    with pytest.raises(NetworkError, match="Parquet table"):
        rr.read_network(two / "qlateral.nc")
    with pytest.raises(NetworkError, match="no column 'k'"):
        rr.read_network(table(elsewhere / "n.parquet", river_id=[1], downstream_river_id=[-1], x=[0.1]))
    with pytest.raises(XRouteError, match="no variable 'qlateral or catchment_runoff'"):
        rr.read_runoff(two / "out" / "discharge_qlateral.nc")
    with pytest.raises(AlignmentError, match=rf"{HUGE}"):
        rr.read_runoff(netcdf(elsewhere / "q.nc", "qlateral", VOLUME[:, :4], ("time", "river_id"), IDS[:4]), network)
    with pytest.raises(AlignmentError, match="stand more than once"):
        rr.read_runoff(netcdf(elsewhere / "q.nc", "qlateral", VOLUME, ("time", "river_id"), np.array([1, 2, 2, 4, 5, 6])))
    with pytest.raises(StateError, match="first in row 1"):
        rr.read_state(table(elsewhere / "s.parquet", Q=[1.0, np.nan, 1, 1, 1, 1]), network)
    with pytest.raises(AlignmentError, match="5 rows, and the table of the network had 6"):
        rr.read_state(table(elsewhere / "s.parquet", Q=[1.0] * 5), network)
    with pytest.raises(AlignmentError, match="names no ids"):
        rr.read_state(two / "init.parquet")
    with pytest.raises(UnitsError, match="no units"):
        rr.read_runoff(netcdf(elsewhere / "c.nc", "catchment_runoff", VOLUME.T, ("riverId", "time"), units=None))
    with pytest.raises(UnitsError, match="no areas, catchment_area"):
        rr.read_runoff(netcdf(elsewhere / "c.nc", "catchment_runoff", VOLUME.T, ("riverId", "time"), units="mm"))
    with pytest.raises(XRouteError, match="names no network, params_file"):
        (elsewhere / "c.yaml").write_text("dt_routing: 900\n")
        rr.read_config(elsewhere / "c.yaml")
    (elsewhere / "c.yaml").write_text("params_file: [unclosed\n")
    with pytest.raises(XRouteError, match="is not YAML"):
        rr.read_network(elsewhere)


def test_what_a_configuration_names_and_is_not_there(two: Path) -> None:
    text = (two / "config.yaml").read_text()
    (two / "config.yaml").write_text(text.replace("  - ./qlateral.nc", "  - ./qlateral.nc\n  - ./gone.nc"))
    with pytest.warns(UserWarning, match="qlateral_files './gone.nc', which is not there"):
        assert "runoff" not in rr.find_files(two)  # a series with a part missing is none
    (two / "config.yaml").write_text(text.replace("dt_runoff: 0", "dt_runoff: 3600"))
    with pytest.raises(TimeAxisError, match=r"10800 s apart, and 3600 s is dt_runoff"):
        READER.read([two], ["network", "runoff"], **options())
    result = convert(two / "params.parquet", f"--runoff={two}/new.nc")
    assert result.exit_code == 2 and "--runoff-file" in result.output
    for source in (two, two / "config.yaml"):  # whatever the files are called
        result = convert(source, f"--runoff={two}/qlateral.nc", "--overwrite")
        assert result.exit_code == 2 and "would replace the input" in result.output
    result = convert(two, f"--network={two}/params.parquet", "--overwrite")
    assert result.exit_code != 0 and pd.read_parquet(two / "params.parquet").shape == (6, 4)


def test_ids_that_are_the_same_in_32_bits(tmp_path: Path) -> None:
    ids = np.array([5, 5 + 2**32])
    table(tmp_path / "n.parquet", river_id=ids, downstream_river_id=[5 + 2**32, -1], k=[1.0, 1.0], x=[0.1, 0.1])
    path = netcdf(tmp_path / "q.nc", "Q", np.ones((2, 2)), ("time", "river_id"), np.array([5, 7]), units="m3 s-1", id_kind="i4")
    with pytest.raises(AlignmentError):
        rr.read_discharge(path, rr.read_network(tmp_path))


# ── a whole set-up, there and back ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", [2, 3])
def test_the_command_writes_a_folder_that_it_reads_again(tmp_path: Path, river: xr.Dataset, version: int) -> None:
    from click.testing import CliRunner

    from xroute.cli import main

    time = pd.date_range(START, periods=9, freq="3h")
    volume = xr.DataArray(VOLUME, {"time": time, "reach": IDS}, attrs={"units": "m3"}, name="runoff")
    first = xr.DataArray(Q0, {"reach": IDS}, attrs={"units": "m3 s-1"})
    begin = xroute.initial_state(river, first, dt=DT).assign_attrs(time=START.replace(" ", "T"))
    discharge = volume.route(river, initial_state=begin)
    given = {"network": river, "runoff": volume.to_dataset(), "discharge": discharge.to_dataset(), "state": begin}
    for name, dataset in given.items():
        xroute.io.write(dataset, tmp_path / f"{name}.zarr")
    inputs = [f"--{name}={tmp_path / name}.zarr" for name in given]
    result = CliRunner().invoke(main, ["export", "river-route", str(tmp_path / "home"), *inputs, f"--version={version}"])
    assert result.exit_code == 0, result.output
    config = rr.read_config(next((tmp_path / "home").glob("config.*")))
    assert config.layout.version == version and config.seconds("dt_routing") == DT_ROUTING
    setup = READER.read([tmp_path / "home"], ["network", "runoff", "state", "discharge"], **options())
    if version == 2:
        assert setup.network.attrs["routing_step"] == DT_ROUTING
    else:
        assert (setup.network["own_step"] == DT_ROUTING).all()
    xr.testing.assert_equal(setup.runoff["runoff"].sel(reach=IDS).drop_attrs(), volume.drop_attrs())
    assert setup.state["outflow"].sel(reach=IDS).values.tolist() == Q0.tolist()
    assert setup.state.attrs["time"] == begin.attrs["time"]
    expected = discharge.sel(reach=IDS).transpose("time", "reach").astype("f4")
    np.testing.assert_array_equal(setup.discharge["discharge"].sel(reach=IDS), expected)
    if version == 2:
        again = setup.runoff["runoff"].route(setup.network, initial_state=setup.state).sel(reach=IDS).transpose("time", "reach")
        np.testing.assert_allclose(again, routed(VOLUME, Q0, DT_ROUTING)[0], rtol=1e-12)


def test_what_is_exported_with_another_lateral_is_told(tmp_path: Path, river: xr.Dataset) -> None:
    with pytest.warns(UserWarning, match='lateral="head"'):
        made = xroute.io.export("river-route", tmp_path / "home", network=river.assign_attrs(lateral="head"))
    assert made == ["params.parquet"]
