"""xroute behind the Basic Model Interface: its contract, the bits of `route`, states, and what callers get wrong."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from strategies import make_ids, network_dataset, runoff_array, small_network, topology

import xroute
from xroute.exceptions import NetworkError, ParameterError, StateError, TimeAxisError, UnitsError, XRouteError

pytest.importorskip("yaml")
bmipy = pytest.importorskip("bmipy")
from xroute.bmi import BmiXroute  # noqa: E402

RUNOFF = "land_surface_water_source__volume_flow_rate"
DISCHARGE = "channel_exit_water_x-section__volume_flow_rate"
STORAGE = "channel_water__volume"
START = "2001-02-27"
"""When the runoff of `strategies.runoff_array` begins."""

ROOT = Path(xroute.__file__).parents[1]
Make = Callable[..., BmiXroute]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a model of a network, and of what its configuration file says besides."""

    def initialized(network: xr.Dataset, /, **entries: Any) -> BmiXroute:
        path = tmp_path / f"river_{len(list(tmp_path.iterdir()))}.nc"
        xroute.io.write(network, path)
        config = path.with_suffix(".yml")
        config.write_text("\n".join(f"{k}: {v}" for k, v in ({"network": path.name, "dt": "1h"} | entries).items()), "utf-8")
        model = BmiXroute()
        model.initialize(str(config))
        return model

    return initialized


def river(scheme: str = "muskingum_exact", n: int = 9, kind: str = "beyond_2_31", shape: str = "tree") -> xr.Dataset:
    rng = np.random.default_rng(1)
    drawn = topology(shape, n, rng)
    return network_dataset(drawn, make_ids(kind, drawn.n_reaches, rng), scheme, rng)


def stepped(model: BmiXroute, runoff: xr.DataArray) -> xr.DataArray:
    """Discharge of a series, set and updated step by step, with the series' labels."""
    found = runoff.sel(reach=model.reach).transpose("time", "reach").copy(deep=True)
    (name,) = model.get_input_var_names()
    for step in found.values:
        model.set_value(name, step)
        model.update()
        model.get_value(model.get_output_var_names()[0], step)
    return found


# ── the answer is that of route ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (river(), {}),
        (river("linear_storage", kind="string"), {"substeps": 3, "sampling": "last"}),
        (
            river("muskingum", kind="beyond_2_53", shape="forest"),
            {"substeps": "auto", "lateral": "interval", "sampling": "start-mean"},
        ),
        (river("hayami", kind="negative"), {"lateral": "outlet"}),
        (river("linear_storage", shape="bifurcating"), {"scheme": "linear_storage"}),
        (river("pure_lag", shape="single"), {"substeps": 2}),
    ],
    ids=["as it comes", "text ids", "RAPID's way", "windows", "rivers that part", "one reach"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_have_the_bits_of_the_whole_series(make: Make, network: xr.Dataset, options: dict[str, Any], dtype: str) -> None:
    runoff = runoff_array(network.reach.values, 12, np.random.default_rng(2), dtype=dtype)
    expected, end = runoff.isel(reach=slice(None, None, -1)).route(network, return_state=True, **options)
    model = make(network, dtype=dtype, start_time=START, **options)
    found = stepped(model, runoff)
    assert found.dtype == dtype
    xr.testing.assert_equal(found, expected.sel(reach=model.reach).transpose("time", "reach"))
    xr.testing.assert_identical(model.state, end)


@pytest.mark.parametrize(
    ("units", "name"),
    [
        ("mm h-1", "land_surface_water__runoff_volume_flux"), ("kg m-2 s-1", "land_surface_water__runoff_mass_flux"),
        ("mm", "land_surface_water__runoff_depth"), ("m3", "land_surface_water_source__volume"), ("ft3 s-1", RUNOFF),
    ],
)  # fmt: skip
def test_units_and_hillslopes(make: Make, units: str, name: str) -> None:
    network = river("linear_storage").assign(area=("reach", np.linspace(5, 90, 9), {"units": "km2"}))
    network = network.assign(fshape=2.5, tscale=9000.0)
    runoff = runoff_array(network.reach.values, 8, np.random.default_rng(3), units=units)
    expected = runoff.route(network, hillslope="gamma", substeps=2)
    model = make(network, units=units, hillslope="gamma", substeps=2)
    assert model.get_input_var_names() == (name,) and model.get_var_units(name) == units
    assert model.get_var_units(DISCHARGE) == expected.attrs["units"]
    xr.testing.assert_equal(stepped(model, runoff), expected.sel(reach=model.reach).transpose("time", "reach"))


def test_ordinates_of_hillslopes_and_the_networks_own_recipe(make: Make, tmp_path: Path) -> None:
    recipe = {"routing_step": 1200.0, "sampling": "start-mean", "lateral": "interval", "runoff_step": 3600.0}
    network = river("linear_storage").assign_attrs(recipe)
    runoff = runoff_array(network.reach.values, 6, np.random.default_rng(4))
    model = make(network, dt="", hillslope="[0.25, 0.5, 0.25]")  # an empty entry is none, and the network says the step
    assert model.get_time_step() == 3600.0 and model.state.attrs["substeps"] == 3
    expected = runoff.route(network, hillslope=[0.25, 0.5, 0.25]).sel(reach=model.reach)
    xr.testing.assert_equal(stepped(model, runoff), expected.transpose("time", "reach"))
    xr.DataArray([0.25, 0.5, 0.25], dims="ordinate").to_dataset(name="uh").to_netcdf(tmp_path / "uh.nc")
    xr.testing.assert_equal(stepped(make(network, hillslope="uh.nc"), runoff), expected.transpose("time", "reach"))


def test_water_is_where_it_should_be(make: Make) -> None:
    """What went in is in the reaches or has left; the storage that a caller holds is that of now."""
    model = make(small_network({2: 1, 3: 1, 1: 0}))
    storage = model.get_value_ptr(STORAGE)
    model.set_value(RUNOFF, np.array([2.0, 0.0, 1.0]))
    left, outlet = 0.0, 2
    for k in range(1, 6):
        model.update()
        left += 3600.0 * model.get_value_ptr(DISCHARGE)[outlet]
        assert storage.sum() + left == pytest.approx(k * 3.0 * 3600.0, rel=1e-13)
        assert np.array_equal(model.get_value(STORAGE, np.empty(3)), storage)
    assert model.get_var_units(STORAGE) == "m3"


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_states_go_out_and_in(make: Make, tmp_path: Path) -> None:
    network = river("hayami", kind="string")
    runoff = runoff_array(network.reach.values, 12, np.random.default_rng(5))
    whole = runoff.route(network).transpose("time", "reach")
    first = make(network, start_time=START)
    xr.testing.assert_equal(stepped(first, runoff.isel(time=slice(0, 5))), whole.isel(time=slice(0, 5)))
    first.save_state(tmp_path / "state.nc")
    with pytest.raises(FileExistsError):
        first.save_state(tmp_path / "state.nc")
    first.save_state(tmp_path / "state.nc", overwrite=True)
    rest = runoff.isel(time=slice(5, None))

    again = make(network.isel(reach=slice(None, None, -1)), initial_state="state.nc", start_time="2001-02-27T05:00")
    assert not np.array_equal(again.reach, first.reach)  # another order: by id
    shown = dict(zip(again.reach, again.get_value_ptr(DISCHARGE), strict=True))
    assert shown == dict(zip(first.reach, first.state.outflow.values, strict=True))
    xr.testing.assert_equal(stepped(again, rest), whole.isel(time=slice(5, None)).sel(reach=again.reach))
    xr.testing.assert_equal(rest.route(network, initial_state=tmp_path / "state.nc").transpose("time", "reach"), whole[5:])

    late = make(network)  # which knows no dates
    late.load_state(first.state)
    assert late.get_current_time() == 0.0
    xr.testing.assert_equal(stepped(late, rest), whole[5:])


def test_a_state_of_another_date_river_or_step_is_told(make: Make) -> None:
    network = river("linear_storage")
    state = make(network, start_time="2001-01-01").state
    with pytest.warns(UserWarning, match="holds at 2001-01-01T00:00:00, and runoff starts at 2002"):
        make(network, start_time="2002-01-01").load_state(state)
    with pytest.raises(StateError, match="another network"):
        make(small_network({1: 0})).load_state(state)
    with pytest.raises(StateError, match="another routing step"):
        make(network, substeps=2).load_state(state)
    with pytest.raises(StateError, match="no state to go on from"):
        make(network).load_state(None)  # type: ignore[arg-type]


def test_many_steps_at_once_are_as_many_steps(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    network = river("hayami").assign(fshape=2.5, tscale=9000.0)
    one, many = (make(network, hillslope="gamma", lateral="outlet", sampling="last", substeps=2) for _ in range(2))
    monkeypatch.setattr("xroute.bmi.stepper.VALUES", 4 * 9)  # in blocks of four
    for k, n in enumerate((1, 7, 2)):
        for model in (one, many):
            model.set_value(RUNOFF, np.arange(9.0) * (k + 1))
        for _ in range(n):
            one.update()
        many.update_until(one.get_current_time())
        assert np.array_equal(one.get_value_ptr(DISCHARGE), many.get_value_ptr(DISCHARGE))
        xr.testing.assert_identical(one.state, many.state)
        assert np.array_equal(checkpoint(one), checkpoint(many))
    again = make(network, hillslope="gamma", lateral="outlet", sampling="last", substeps=2)
    again.load_state(one.state)  # with the water on hillslopes
    again.set_value(RUNOFF, one.get_value_ptr(RUNOFF))
    for model in (one, again):
        model.update()
    assert np.array_equal(one.get_value_ptr(DISCHARGE), again.get_value_ptr(DISCHARGE))


def test_a_state_that_was_given_does_not_change(make: Make) -> None:
    model = make(river("hayami"))
    model.set_value(RUNOFF, np.ones(9))
    model.update()
    before = model.state
    kept = before.copy(deep=True)
    model.update()
    xr.testing.assert_identical(before, kept)
    before["outflow"][:] = 1e9
    assert float(model.state["outflow"].max()) < 1e9


CREATE, FREE, SIZE, STATE = (f"ngen::serialization_{name}" for name in ("create", "free", "size", "state"))
TRIGGER = np.array([1], "int32")


def checkpoint(model: BmiXroute) -> np.ndarray:
    """Bytes of a state, asked for as NextGen's engine does."""
    model.set_value(CREATE, TRIGGER)
    size = model.get_value(SIZE, np.zeros(1, model.get_var_type(SIZE)))[0]
    taken = model.get_value(STATE, np.zeros(size, model.get_var_type(STATE)))
    model.set_value(FREE, TRIGGER)
    assert model.get_value(SIZE, np.ones(1, "int32"))[0] == 0
    return taken


def test_checkpoints_of_nextgens_engine(make: Make) -> None:
    """As doc/BMI_SERIALIZATION_PROTOCOL.md of ngen has it: four names that are not listed, with these units."""
    network = river("hayami", kind="string")
    runoff = runoff_array(network.reach.values, 9, np.random.default_rng(6))
    model = make(network, dtype="float32")
    assert not {CREATE, FREE, SIZE, STATE} & {*model.get_input_var_names(), *model.get_output_var_names()}
    units = [model.get_var_units(name) for name in (CREATE, FREE, SIZE, STATE)]
    assert units == ["ngen::trigger", "ngen::trigger", "bytes", "ngen::opaque"]
    assert [model.get_var_itemsize(name) for name in (CREATE, FREE, SIZE, STATE)] == [4, 4, 4, 1]
    for ask in (model.get_var_grid, model.get_var_location):
        with pytest.raises(ParameterError):
            ask(STATE)

    stepped(model, runoff.isel(time=slice(0, 4)))
    taken = checkpoint(model)
    assert taken.size == model.get_var_nbytes(STATE)
    after = stepped(model, runoff.isel(time=slice(4, None)))

    other = make(network, dtype="float32")
    assert other.get_var_nbytes(STATE) == taken.size  # before anything was created
    other.set_value(STATE, taken)
    assert other.get_current_time() == 4 * 3600.0
    assert np.array_equal(checkpoint(other), taken)  # runoff that was set, and discharge, too
    xr.testing.assert_equal(stepped(other, runoff.isel(time=slice(4, None))), after)
    model.set_value(STATE, taken.view("int8"))  # the same one goes back
    xr.testing.assert_equal(stepped(model, runoff.isel(time=slice(4, None))), after)


def test_bytes_that_are_no_state_of_this_river_are_refused(make: Make) -> None:
    network = river("hayami")
    model = make(network)
    model.set_value(RUNOFF, np.ones(9))
    model.update()
    taken = checkpoint(model)
    broken = taken.copy()
    broken[-40] ^= 1
    for bad in (broken, taken[:-8], np.zeros(5, "uint8"), np.frombuffer(b"x" * taken.size, "uint8")):
        with pytest.raises(StateError):
            model.set_value(STATE, bad)
        assert np.array_equal(checkpoint(model), taken)
    with pytest.raises(ParameterError, match="float64"):
        model.set_value(STATE, np.zeros(4))
    turned = network.isel(reach=slice(None, None, -1))
    for others, entries, why in (
        (turned, {}, "order of reaches"), (network, {"substeps": 2}, "substeps"), (network, {"dtype": "float32"}, "dtype"),
    ):  # fmt: skip
        with pytest.raises(StateError, match=why):
            make(others, **entries).set_value(STATE, taken)


# ── the contract ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_found_by_those_who_ask_and_not_offered_to_others() -> None:
    code = "import xroute; print('bmi' in dir(xroute), xroute.bmi.BmiXroute.__name__, xroute.bmi.__all__)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["False", "BmiXroute", "['BmiXroute']"], done.stderr
    without = "import sys; sys.modules['bmipy'] = None; import xroute.bmi"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, env=environment)
    assert 'the Basic Model Interface needs bmipy: pip install "xroute[bmi]"' in done.stderr


def test_all_of_the_interface_is_there(make: Make) -> None:
    assert issubclass(BmiXroute, bmipy.Bmi) and not inspect.isabstract(BmiXroute)
    for name in bmipy.Bmi.__abstractmethods__:
        own, its = (list(inspect.signature(getattr(of, name)).parameters) for of in (BmiXroute, bmipy.Bmi))
        assert own == its, name
    model = make(river())
    assert model.initialize.__doc__ and model.get_component_name() == "xroute"
    names = *model.get_input_var_names(), *model.get_output_var_names()
    assert names == (RUNOFF, DISCHARGE, STORAGE)
    assert (model.get_input_item_count(), model.get_output_item_count()) == (1, 2)
    for name in names:
        values = model.get_value_ptr(name)
        assert model.get_var_type(name) == values.dtype.name == "float64"
        assert model.get_var_nbytes(name) == values.nbytes == 9 * model.get_var_itemsize(name)
        assert (model.get_var_location(name), model.get_var_grid(name)) == ("node", 0)
    assert model.get_value("channel_water__id", np.empty(9, "int64")).tolist() == model.reach.tolist()
    assert make(river(kind="string")).get_value_ptr("channel_water__id").tolist() == river(kind="string").reach.values.tolist()


def test_values_are_the_models_own(make: Make) -> None:
    model = make(small_network({2: 1, 3: 1, 1: 0}))
    runoff, discharge = model.get_value_ptr(RUNOFF), model.get_value_ptr(DISCHARGE)
    runoff[:] = [1.0, 2.0, 0.0]
    model.update()
    assert model.get_value_ptr(DISCHARGE) is discharge and discharge.tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 3])
    dest = np.empty((3, 1))
    assert model.get_value(DISCHARGE, dest) is dest and dest.ravel().tolist() == discharge.tolist()
    some = np.empty(2, "float32")
    assert model.get_value_at_indices(DISCHARGE, some, [2, 0]) is some
    assert some.tolist() == pytest.approx([1 / 3, 1 / 3])
    model.set_value_at_indices(RUNOFF, np.array([2, 0]), np.array([7, 5]))
    assert runoff.tolist() == [5.0, 2.0, 7.0]
    model.set_value(RUNOFF, np.array([[1], [2], [3]]))
    assert model.get_value(RUNOFF, np.empty(3)).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        discharge[:] = 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.set_value(RUNOFF, np.ones(2)), "2 values were given for .*, and there are 3 reaches"),
        (lambda m: m.set_value(RUNOFF, 1.0), "1 values were given"),
        (lambda m: m.set_value(RUNOFF, np.array(["1", "2", "3"])), "are numbers, not <U1"),
        (lambda m: m.set_value(RUNOFF, np.ma.masked_less([1.0, -1.0, 2.0], 0)), "1 masked values"),
        (lambda m: m.set_value(RUNOFF, xr.DataArray([1.0, 2.0, 3.0], {"reach": [1, 2, 3]})), "model's order"),
        (lambda m: m.set_value(DISCHARGE, np.ones(3)), "comes out of the model and cannot be set; land_surface"),
        (lambda m: m.set_value("rain", np.ones(3)), "no variable 'rain' on reaches; there are 'land_surface"),
        (lambda m: m.set_value(SIZE, TRIGGER), "cannot be set"),
        (lambda m: m.set_value_at_indices(RUNOFF, [0, 3], [1.0, 2.0]), "1 positions .* not among 0 to 2: 3"),
        (lambda m: m.set_value_at_indices(RUNOFF, [-1], [1.0]), "not among 0 to 2: -1"),
        (lambda m: m.set_value_at_indices(RUNOFF, [0, 1], [1.0]), "1 values .* 2 positions"),
        (lambda m: m.set_value_at_indices(RUNOFF, None, np.ones(3)), "whole numbers, not object"),
        (lambda m: m.set_value_at_indices(RUNOFF, [True, False, True], [1.0, 2.0]), "whole numbers, not bool"),
        (lambda m: m.get_value(DISCHARGE, np.empty(2)), "has 3 values, .* room for 2"),
        (lambda m: m.get_value(DISCHARGE, np.empty(3, int)), "cannot be put into an array of int64"),
        (lambda m: m.get_value(DISCHARGE, [0.0, 0.0, 0.0]), "into an array of numpy, not into a list"),
        (lambda m: m.get_value("rain", np.empty(3)), "no variable 'rain'"),
        (lambda m: m.get_var_units("rain"), "no variable 'rain'"),
        (lambda m: m.get_grid_size(1), "no grid 1"),
    ],
)
def test_callers_are_told_what_is_wrong(make: Make, call: Callable[[BmiXroute], Any], message: str) -> None:
    model = make(small_network({2: 1, 3: 1, 1: 0}))
    before = model.get_value_ptr(RUNOFF).copy()
    with pytest.raises(ParameterError, match=message):
        call(model)
    assert np.array_equal(model.get_value_ptr(RUNOFF), before)


def test_before_and_after(make: Make) -> None:
    model = BmiXroute()
    model.finalize()
    asked = model.update, model.get_current_time, model.get_input_var_names, lambda: model.get_grid_size(0), lambda: model.state
    for call in asked:
        with pytest.raises(XRouteError, match="call initialize"):
            call()
    model = make(river())
    model.update()
    model.finalize()
    model.finalize()
    with pytest.raises(XRouteError, match="was finalized"):
        model.update()


def test_runoff_that_is_not_finite_leaves_all_as_it_was(make: Make) -> None:
    network = small_network({2: 1, 3: 1, 1: 0})
    model, other = make(network, start_time="2001-01-01"), make(network, start_time="2001-01-01")
    for one in (model, other):
        one.set_value(RUNOFF, np.array([1.0, 2.0, 3.0]))
        one.update()
    model.set_value(RUNOFF, np.array([1.0, np.nan, 3.0]))
    with pytest.raises(XRouteError, match="1 values of runoff are NaN .*, on 1 reaches: 3; first at 2001-01-01T01:00:00"):
        model.update()
    assert model.get_current_time() == 3600.0
    xr.testing.assert_identical(model.state, other.state)
    lenient = make(network, nan="zero")
    lenient.set_value(RUNOFF, np.array([1.0, np.nan, 3.0]))
    lenient.update()
    assert lenient.get_value_ptr(DISCHARGE).tolist()[1] == 0.0


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_time(make: Make) -> None:
    model, network = make(river(), dt="3h", end_time="2d"), river()
    assert (model.get_start_time(), model.get_current_time(), model.get_time_step()) == (0.0, 0.0, 10800.0)
    assert (model.get_time_units(), model.get_end_time()) == ("s", 172800.0)
    model.set_value(RUNOFF, np.arange(9.0))
    model.update_until(4 * 10800.0)
    values = np.tile(np.arange(9.0), (4, 1))
    constant = xr.DataArray(values, {"reach": network.reach}, ("time", "reach"), attrs={"units": "m3 s-1"})
    assert np.array_equal(model.get_value_ptr(DISCHARGE), constant.route(network, dt="3h")[-1])
    model.update_until(4 * 10800.0)  # where it is already
    assert model.get_current_time() == 43200.0
    for wrong, message in ((50000.0, "no step ends at 50000.0 s"), (3 * 10800.0, "has passed"), (np.nan, "no step ends")):
        with pytest.raises(TimeAxisError, match=message):
            model.update_until(wrong)
    with pytest.raises(TimeAxisError, match="a number of seconds since the start, not None"):
        model.update_until(None)  # type: ignore[arg-type]
    with pytest.raises(TimeAxisError, match="the run ends at 172800 s"):
        model.update_until(model.get_end_time() + 10800.0)
    assert model.get_current_time() == 43200.0  # nothing was routed
    model.update_until(model.get_end_time())
    with pytest.raises(TimeAxisError, match="the run ends at"):
        model.update()
    assert make(river()).get_end_time() == sys.float_info.max


@pytest.mark.parametrize(
    ("entries", "first", "end"),
    [
        ({"start_time": "2004-02-28", "end_time": "2004-03-01"}, "2004-02-29T00:00:00", 172800.0),
        ({"start_time": "2004-02-28 12:00:00", "end_time": 86400}, "2004-02-29T12:00:00", 86400.0),
        ({"start_time": "2004-02-28T00:00:00Z", "end_time": "36h", "dt": "12h"}, "2004-02-28T12:00:00", 129600.0),
        ({"start_time": "2004-02-28", "calendar": "noleap", "end_time": "2004-03-02"}, "2004-03-01T00:00:00", 172800.0),
        ({"start_time": "2004-02-30", "calendar": "360_day", "end_time": "2004-03-01"}, "2004-03-01T00:00:00", 86400.0),
        ({"start_time": "3004-02-28"}, "3004-02-29T00:00:00", sys.float_info.max),
    ],
)
def test_dates(make: Make, entries: dict[str, Any], first: str, end: float) -> None:
    model = make(river(), **{"dt": "1d"} | entries)
    assert model.get_end_time() == end
    model.update()
    assert model.state.attrs["time"] == first


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"end_time": "90min"}, TimeAxisError, "not a whole number"),
        ({"end_time": "2001-01-02"}, TimeAxisError, "no start_time"),
        ({"end_time": "soon"}, TimeAxisError, "end_time is a date, or a span"),
        ({"start_time": "2001-01-02", "end_time": "2001-01-01"}, TimeAxisError, "not a whole number"),
        ({"start_time": "2001-02-30"}, TimeAxisError, "start_time is a date such as"),
        ({"start_time": "2001-02-29", "calendar": "noleap"}, TimeAxisError, "no date of the calendar noleap"),
        ({"start_time": 20010101}, ParameterError, "start_time is text"),
        ({"start_time": "now"}, TimeAxisError, "start_time is a date such as"),
        ({"start_time": "01/02/2001"}, TimeAxisError, "start_time is a date such as"),
        ({"calendar": "lunar"}, TimeAxisError, "calendar is one of"),
        ({"dt": ""}, TimeAxisError, r"give dt: \.\.\. \(seconds"),  # as the file says it, not as Python does
        ({"dt": "-1h"}, TimeAxisError, "positive"),
        ({"dtype": "int32"}, ParameterError, "dtype is one of"),
        ({"nan": "others"}, ParameterError, "nan is one of 'raise', 'zero'"),
        ({"units": "K"}, UnitsError, "is no runoff"),
        ({"units": 1}, ParameterError, "units is text"),
        ({"units": "mm h-1"}, UnitsError, "'area'"),
        ({"scheme": "magic"}, ParameterError, "magic"),
        ({"lateral": "side"}, ParameterError, "lateral"),
        ({"substeps": 0}, ParameterError, "substeps"),
        ({"device": "abacus"}, ParameterError, "device is"),
        ({"routing_scheme": "x"}, ParameterError, "'routing_scheme'"),
        ({"schem": "x"}, ParameterError, "Is 'scheme' meant"),
        ({"network": "nothing.nc"}, FileNotFoundError, "nothing.nc"),
        ({"network": ""}, ParameterError, "names no network"),
        ({"network": 3}, ParameterError, "network is a path"),
        ({"initial_state": "nothing.nc"}, FileNotFoundError, "nothing.nc"),
        ({"hillslope": "[1, two]"}, ParameterError, "ordinates of hillslope are numbers"),
        ({"runoff_name": "q", "discharge_name": "q"}, ParameterError, "both 'q'"),
        ({"runoff_name": STORAGE}, ParameterError, "another variable has that name"),
    ],
)
def test_a_configuration_that_cannot_be_meant(
    make: Make, entries: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(river(), **entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: [", "is not YAML"), ("just words", "holds no entries"), ("", "holds no entries"),
        ("network: a.nc\nnetwork: b.nc", "'network' more than once"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "xroute.yml").write_text(text)
    with pytest.raises(XRouteError, match=message):
        BmiXroute().initialize(tmp_path / "xroute.yml")
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        BmiXroute().initialize(tmp_path)
    with pytest.raises(XRouteError, match="path of a configuration file"):
        BmiXroute().initialize("")


def test_entries_may_be_merged_from_elsewhere(tmp_path: Path) -> None:
    folder = written(tmp_path, river())
    (folder / "merged.yml").write_text("<<: {dt: 2h, units: ft3 s-1}\nnetwork: river.nc\nscheme:\n")
    model = BmiXroute()
    model.initialize(folder / "merged.yml")
    assert (model.get_time_step(), model.get_var_units(RUNOFF)) == (7200.0, "ft3 s-1")


def test_names_may_be_chosen(make: Make) -> None:
    model = make(river(), runoff_name="qlat", discharge_name="streamflow")
    assert (*model.get_input_var_names(), *model.get_output_var_names()) == ("qlat", "streamflow", STORAGE)
    model.set_value("qlat", np.ones(9))
    model.update()
    assert model.get_value_ptr("streamflow").max() > 0


def test_networks_that_are_none_are_told(make: Make) -> None:
    with pytest.raises(NetworkError, match="cycle"):
        make(small_network({1: 2, 2: 1}))
    with pytest.raises(ParameterError, match="tau"):
        make(small_network({1: 0}, tau=[-1.0]))


# ── the grid ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_grid_is_the_river(make: Make) -> None:
    network = small_network({20: 10, 30: 10, 10: 0}).assign_coords(
        lon=("reach", [359.0, 1.0, 0.5]), lat=("reach", [50.0, 51.0, 49.0])
    )
    model = make(network)
    assert (model.get_grid_type(0), model.get_grid_rank(0), model.get_grid_size(0)) == ("unstructured", 2, 3)
    assert (model.get_grid_node_count(0), model.get_grid_edge_count(0), model.get_grid_face_count(0)) == (3, 2, 0)
    assert model.get_grid_x(0, np.empty(3)).tolist() == [-1.0, 1.0, 0.5]
    assert model.get_grid_y(0, np.empty(3)).tolist() == [50.0, 51.0, 49.0]
    edges = model.get_grid_edge_nodes(0, np.empty(4, "int32")).reshape(2, 2)
    assert {(int(model.reach[a]), int(model.reach[b])) for a, b in edges} == {(20, 10), (30, 10)}
    for call in (model.get_grid_shape, model.get_grid_spacing, model.get_grid_origin, model.get_grid_z):
        with pytest.raises(NotImplementedError):
            call(0, np.empty(3))
    for call in (model.get_grid_face_edges, model.get_grid_face_nodes, model.get_grid_nodes_per_face):
        none = np.empty(0, "int32")
        assert call(0, none) is none


def test_edges_of_rivers_that_part(make: Make) -> None:
    network = river("linear_storage", shape="bifurcating", n=8, kind="string")
    model = make(network)
    edges = model.get_grid_edge_nodes(0, np.empty(2 * network.sizes["link"], "int64")).reshape(-1, 2)
    found = sorted((model.reach[a], model.reach[b]) for a, b in edges)
    assert found == sorted(zip(network.upstream_reach.values, network.downstream_reach.values, strict=True))


def test_coordinates_that_are_missing(make: Make) -> None:
    model = make(small_network({2: 1, 3: 1, 1: 0}))
    assert (model.get_grid_type(0), model.get_grid_rank(0), model.get_grid_size(0)) == ("none", 0, 3)
    assert model.get_grid_edge_count(0) == 2
    with pytest.raises(NotImplementedError, match="lon and lat"):
        model.get_grid_x(0, np.empty(3))
    some = small_network({2: 1, 3: 1, 1: 0}).assign_coords(lon=("reach", [1.0, np.nan, 2.0]), lat=("reach", [5.0, 5.0, 5.0]))
    with pytest.warns(UserWarning, match="1 reaches have no coordinates, and are NaN in the grid's: 3"):
        model = make(some)
    assert np.isnan(model.get_grid_x(0, np.empty(3))).tolist() == [False, True, False]
    with pytest.raises(ParameterError, match="no lat"):
        make(some.drop_vars("lat"))


def test_a_coupler_that_copies_as_ngens_does(make: Make) -> None:
    """ngen makes arrays of the type that is told, of int32 positions, writes through pointers and runs to a time."""
    model = make(river(kind="string"), dtype="float64")
    known = {"float32": 4, "float64": 8, "int32": 4, "int64": 8}
    for name in (*model.get_input_var_names(), *model.get_output_var_names()):
        assert known[model.get_var_type(name)] == model.get_var_itemsize(name)
    length = model.get_var_nbytes(RUNOFF) // model.get_var_itemsize(RUNOFF)
    source = np.arange(length, dtype=model.get_var_type(RUNOFF))
    model.set_value(RUNOFF, source)
    for k in range(length):
        model.get_value_ptr(RUNOFF)[k] = 2 * source[k]
    model.update_until(3600.0)
    model.update_until(7200.0)
    one = np.zeros(1, dtype=model.get_var_type(DISCHARGE), order="C")
    model.get_value_at_indices(DISCHARGE, one, np.zeros(1, "int32"))
    assert one[0] == model.get_value_ptr(DISCHARGE)[0] and model.get_value(RUNOFF, np.zeros(length))[1] == 2.0
    assert model.get_grid_nodes_per_face(0, np.zeros(1, "int32")).tolist() == [0]  # room for one where there is none


# ── other people's tools ────────────────────────────────────────────────────────────────────────────────────────────────


def bmi_tester(entry_point: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """CSDMS's tests of a BMI, of all stages, on a configuration file xroute.yml in a folder."""
    command = [sys.executable, "-m", "bmi_tester", entry_point, "--root-dir", str(folder), "--config-file", "xroute.yml"]
    path = os.pathsep.join([str(ROOT), str(folder), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def written(folder: Path, network: xr.Dataset, **entries: Any) -> Path:
    xroute.io.write(network, folder / "river.nc")
    entries = {"network": "river.nc", "dt": "1h"} | entries
    (folder / "xroute.yml").write_text("\n".join(f"{name}: {value}" for name, value in entries.items()))
    return folder


@pytest.mark.slow
def test_csdms_bmi_tester_passes(tmp_path: Path) -> None:
    pytest.importorskip("bmi_tester")
    network = river().assign_coords(lon=("reach", np.arange(9.0)), lat=("reach", np.arange(9.0)))
    done = bmi_tester("xroute.bmi:BmiXroute", written(tmp_path, network, start_time=START, end_time="10d"))
    assert done.returncode == 0 and "passed" in done.stdout and "failed" not in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_csdms_bmi_tester_sees_a_fault(tmp_path: Path) -> None:
    pytest.importorskip("bmi_tester")
    (tmp_path / "faulty.py").write_text(
        "from xroute.bmi import BmiXroute\n"
        "class Faulty(BmiXroute):\n"
        "    def get_grid_edge_nodes(self, grid, edge_nodes):\n"
        "        return super().get_grid_edge_nodes(grid, edge_nodes.copy())\n"
    )
    network = river().assign_coords(lon=("reach", np.arange(9.0)), lat=("reach", np.arange(9.0)))
    done = bmi_tester("faulty:Faulty", written(tmp_path, network, start_time=START))
    assert done.returncode != 0 and "test_get_grid_edge_nodes" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_csdms_bmi_tester_passes_without_coordinates(tmp_path: Path) -> None:
    pytest.importorskip("bmi_tester")
    done = bmi_tester("xroute.bmi:BmiXroute", written(tmp_path, river(kind="string", shape="single"), dtype="float32"))
    assert done.returncode == 0 and "failed" not in done.stdout, done.stdout + done.stderr


def test_two_models_coupled_through_their_interfaces(make: Make, tmp_path: Path) -> None:
    """Buckets of another author, in hours and millimetres, rain into a river: each drop is where `route` has it."""
    from bucket import RAIN, WATER, Bucket
    from bucket import RUNOFF as LEAVES

    area = np.array([12.0, 7.0, 30.0, 4.5, 21.0])
    network = small_network({7: 5, 9: 5, 5: 2, 3: 2, 2: 0}, tau=([7200.0, 3600.0, 9000.0, 1800.0, 14400.0], "s"))
    network = network.assign(area=("reach", area, {"units": "km2"}))
    (tmp_path / "bucket.yml").write_text("{k: 6, step: 0.5, catchments: 5}")
    land = Bucket()
    land.initialize(str(tmp_path / "bucket.yml"))
    water = make(network, dt="30min", units=land.get_var_units(LEAVES), start_time="2001-01-01")
    assert water.get_input_var_names() == (LEAVES,)  # the names meet by themselves

    rng, rained, left, runoff, discharge = np.random.default_rng(7), 0.0, 0.0, [], []
    to_seconds = {"h": 3600.0, "s": 1.0}[land.get_time_units()]
    while water.get_current_time() < 86400.0:
        rain = rng.gamma(0.4, 5.0, 5) * (land.get_current_time() < 6)
        land.set_value(RAIN, rain)
        land.update()
        water.set_value(LEAVES, land.get_value_ptr(LEAVES))
        water.update_until(land.get_current_time() * to_seconds)
        rained += (rain * 0.5 / 1e3 * area * 1e6).sum()
        left += 1800.0 * water.get_value_ptr(DISCHARGE)[4]
        runoff.append(land.get_value_ptr(LEAVES).copy())
        discharge.append(water.get_value_ptr(DISCHARGE).copy())
        stored = (land.get_value_ptr(WATER) / 1e3 * area * 1e6).sum() + water.get_value(STORAGE, np.empty(5)).sum()
        assert stored + left == pytest.approx(rained, rel=1e-12)
    assert 0.5 * rained < left < rained
    series = xr.DataArray(runoff, {"reach": network.reach}, ("time", "reach"), attrs={"units": "mm h-1"})
    assert np.array_equal(series.route(network, dt="30min"), discharge)
