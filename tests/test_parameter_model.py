"""`ParameterModel`: attributes in, parameters within their ranges out, whatever the attributes and the weights are.

What is expected is worked out here: means and logarithms with numpy, travel times from lengths, gradients by differences.
"""

from __future__ import annotations

import copy
import json
import warnings

import numpy as np
import pytest
import torch
import xarray as xr

import xroute
from xroute import Network, ParameterError, ParameterModel, Router, UnitsError
from xroute.learning.forms import evaluate, time_power
from xroute.schemes import SCHEMES, Parameter, Scheme


def river(seed: int = 0, rows: int = 6, columns: int = 5, scheme: str = "muskingum") -> Network:
    """A lattice with attributes: slopes over decades, areas upstream, and a share that is anywhere."""
    network = Network(xroute.datasets.scheidegger(rows, columns, seed, scheme=scheme))
    rng = np.random.default_rng(seed + 100)
    n = network.n_reaches
    slope = xr.DataArray(10.0 ** rng.uniform(-4, -1, n), {"reach": network.ids}, attrs={"units": "1"})
    uparea = xr.DataArray(25.0 * network.n_upstream.values * 1.0, {"reach": network.ids}, attrs={"units": "km2"})
    return network.assign(slope=slope, uparea=uparea, forest=rng.uniform(0, 1, n))


def stirred(model: ParameterModel, by: float = 1.0, seed: int = 1) -> ParameterModel:
    """The model with other weights, of this size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += by * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return model


ATTRIBUTES = ["slope", "length", "uparea", "forest"]


# ── what comes out ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_untrained_model_has_the_mean_celerity_and_weight_of_the_network():
    network = river()
    values = ParameterModel(ATTRIBUTES)(network)
    celerity = np.exp(np.mean(np.log(network["length"].values / network["k"].values)))
    np.testing.assert_allclose(values["k"].detach(), network["length"].values / celerity, rtol=1e-12)
    np.testing.assert_allclose(values["x"].detach(), network["x"].values.mean(), rtol=1e-12)


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if not SCHEMES[s].from_user])
def test_travel_time_is_length_over_a_celerity_for_every_scheme(scheme):
    network = river(scheme=scheme)
    names = [p.name for p in SCHEMES[scheme].parameters if p.name != "length"]
    model = stirred(ParameterModel(ATTRIBUTES, names, celerity=(0.2, 5.0)), 0.3)
    values = {name: v.detach().numpy() for name, v in model(network).items()}
    assert sorted(values) == sorted(names)
    of_scheme = {"length": network["length"].values, **values}
    celerity = of_scheme["length"] / eval(SCHEMES[scheme].travel_time, {}, of_scheme)
    assert celerity.min() >= 0.2 * (1 - 1e-12) and celerity.max() <= 5.0 * (1 + 1e-12)
    assert celerity.std() > 0.02
    Router(network, dt="1h")(torch.ones(network.n_reaches, 3), parameters=model(network))  # takes them


def test_without_lengths_or_physics_a_parameter_starts_at_its_geometric_mean():
    network = river()
    mean = np.exp(np.mean(np.log(network["k"].values)))
    bare = Network(network.dataset.drop_vars("length"))
    for model, of in (
        (ParameterModel(["slope"]), bare),
        (ParameterModel(["slope"], physics=False), network),
    ):
        np.testing.assert_allclose(model(of)["k"].detach(), mean, rtol=1e-9)
    with pytest.raises(ParameterError, match="length"):
        ParameterModel(["slope"], physics=True)(bare)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e30, 1e300])
@pytest.mark.parametrize("hidden", [(), (3,), (8, 8)])
def test_no_weight_puts_a_parameter_out_of_its_range(size, hidden):
    for scheme, names in (
        ("muskingum", ["k", "x"]),
        ("nash_cascade", ["tau", "n"]),
        ("hayami", ["celerity", "diffusivity"]),
    ):
        network = river(scheme=scheme)
        for physics in (None, False):
            values = stirred(ParameterModel(ATTRIBUTES, names, hidden, physics=physics), size)(network)
            for parameter in SCHEMES[scheme].parameters:
                if parameter.name in values:
                    v = values[parameter.name]
                    assert bool(parameter.allows(v.detach()).all()), (scheme, parameter.name, v)
            sum(v.sum() for v in values.values()).backward()


def test_parameters_of_registered_schemes_keep_to_their_ranges():
    def taps(dt, **parameters):
        return torch.ones(parameters["residence"].shape[0], 1, dtype=torch.float64)

    parameters = (
        Parameter("residence", "s", low=60.0, high=4000.0),
        Parameter("tilt", "1"),
        Parameter("sink", "1", high=0.0),
        Parameter("share", "1", low=0.2, high=0.3, low_open=True),
    )
    row = Scheme("odd_one", parameters, lambda dt, n_taps, **p: (taps(dt, **p), None), travel_time="residence")
    xroute.register_scheme(row, replace=True)
    try:
        network = Network(river().dataset.assign_attrs(scheme="odd_one")).assign(
            residence=3000.0, tilt=-4.0, sink=-2.0, share=0.25
        )
        model = ParameterModel(ATTRIBUTES, ["residence", "tilt", "sink", "share"])
        start = {name: v.detach().numpy() for name, v in model(network).items()}
        np.testing.assert_allclose([start["tilt"].mean(), start["sink"].mean(), start["share"].mean()], [-4, -2, 0.25])
        for size in (1.0, 1e6):
            values = stirred(model, size)(network)
            for p in parameters:
                assert bool(p.allows(values[p.name].detach()).all()), p.name
    finally:
        SCHEMES.pop("odd_one")


def test_of_mixed_schemes_each_reach_has_its_own_and_the_rest_is_nan():
    network = river()
    lake = np.arange(network.n_reaches) % 7 == 0
    tau = np.where(lake, 50_000.0, np.nan)
    mixed = network.assign(scheme=np.where(lake, "linear_storage", "muskingum"), tau=tau)
    model = ParameterModel(["slope"], ["k", "x", "tau"])
    values = {name: v.detach().numpy() for name, v in model(mixed).items()}
    assert np.isnan(values["tau"]).tolist() == (~lake).tolist()
    assert np.isnan(values["k"]).tolist() == lake.tolist()
    length = mixed["length"].values
    c_lake, c_river = (np.exp(np.log(length[m] / v[m]).mean()) for m, v in ((lake, tau), (~lake, mixed["k"].values)))
    np.testing.assert_allclose(values["tau"][lake], length[lake] / c_lake, rtol=1e-9)
    np.testing.assert_allclose(values["k"][~lake], length[~lake] / c_river, rtol=1e-9)
    router = Router(mixed, dt="1h")
    router(torch.rand(network.n_reaches, 5), parameters=model(mixed)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    predicted = model.predict(mixed)
    assert np.isnan(predicted["tau"].values).tolist() == (~lake).tolist()
    np.testing.assert_array_equal(predicted["k"].values[lake], mixed["k"].values[lake])  # not routed by it, so kept


def test_reaches_of_a_scheme_that_is_not_learned_keep_theirs():
    network = river()
    lake = np.arange(network.n_reaches) % 7 == 0
    tau = np.where(lake, 50_000.0, np.nan)
    mixed = network.assign(scheme=np.where(lake, "linear_storage", "muskingum"), tau=tau)
    model = stirred(ParameterModel(["slope"], ["k", "x"]), 0.3)
    assert np.isnan(model(mixed)["k"].detach().numpy()).tolist() == lake.tolist()
    found = model.predict(mixed)
    np.testing.assert_array_equal(found["tau"].values, tau)
    np.testing.assert_array_equal(found["k"].values[lake], network["k"].values[lake])
    Router(mixed, dt="1h")(torch.rand(network.n_reaches, 5), parameters=model(mixed)).sum().backward()
    both = ParameterModel(["slope"], ["k", "x", "tau"]).prepare(mixed)
    assert sorted(both(network)) == ["k", "x"]  # a region without lakes


def test_hillslopes_are_learned_as_schemes_are():
    network = (
        river().assign(fshape=2.0, tscale=("reach", np.full(30, 2.0), {"units": "h"})).assign_attrs(hillslope="gamma")
    )
    model = ParameterModel(["slope", "forest"], ["k", "fshape", "tscale"])
    start = model(network)
    np.testing.assert_allclose(start["tscale"].detach(), 7200.0, rtol=1e-12)
    np.testing.assert_allclose(start["fshape"].detach(), 2.0, rtol=1e-12)
    stirred(model, 0.3)
    values = model(network)
    router = Router(network, dt="1h")
    found = router(torch.rand(30, 40, dtype=torch.float64), parameters=values)
    found.square().sum().backward()
    assert (model.layers.straight.weight.grad.abs().sum(dim=1) > 0).all()
    predicted = model.predict(network)
    np.testing.assert_allclose(predicted["tscale"].values * 3600, values["tscale"].detach(), rtol=1e-12)
    bare = Network(network.dataset.drop_vars(["k", "x", "fshape", "tscale"]))
    bare = Network(bare.dataset.drop_attrs(deep=False)).assign(x=network["x"])
    again = model.predict(bare)
    assert again.attrs["hillslope"] == "gamma" and again.attrs["scheme"] == "muskingum"
    np.testing.assert_allclose(again["tscale"].values, values["tscale"].detach(), rtol=1e-12)
    plain = ParameterModel(["slope"], ["k"])(network)  # hillslopes that are not learned stay as they are
    assert sorted(plain) == ["k"]


# ── gradients ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_gradients_through_the_river_agree_with_finite_differences():
    network = river(rows=3, columns=3)
    model = stirred(ParameterModel(["slope", "uparea"], hidden=(4,)), 0.3)
    router = Router(network, dt="1h")
    runoff = torch.rand(network.n_reaches, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    weight = torch.rand(network.n_reaches, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    inputs = model.inputs(network)

    def loss() -> torch.Tensor:
        return (weight * router(runoff, parameters=model(inputs))).sum()

    loss().backward()
    checked = 0
    for parameter in model.parameters():
        gradient = parameter.grad.flatten()
        for at in range(0, parameter.numel(), max(1, parameter.numel() // 4)):
            with torch.no_grad():
                flat, h = parameter.flatten(), 1e-6
                sides = []
                for sign in (1, -1):
                    moved = flat.clone()
                    moved[at] += sign * h
                    before = parameter.clone()
                    parameter.copy_(moved.view_as(parameter))
                    sides.append(loss().item())
                    parameter.copy_(before)
            expected = (sides[0] - sides[1]) / (2 * h)
            assert gradient[at].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
            checked += abs(expected) > 1e-4
    assert checked > 8


def test_missing_attributes_make_no_nan_and_are_told_with_counts():
    network = river()
    slope = network["slope"].copy()
    slope[[2, 5, 7]] = np.nan
    holed = network.assign(slope=slope)
    model = ParameterModel(ATTRIBUTES)
    with pytest.warns(UserWarning, match=r"'slope' on 3 of 30 reaches \(3, 6, 8\)"):
        model.inputs(holed)
    stirred(model)
    values = model(holed)
    sum(v.sum() for v in values.values()).backward()
    assert all(torch.isfinite(v).all() for v in values.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    gradient = model.layers.straight.weight.grad
    assert (gradient[:, len(ATTRIBUTES)] != 0).all()  # the note that it is missing learns
    assert (gradient[:, len(ATTRIBUTES) + 1 :] == 0).all()


def test_an_attribute_that_was_never_missing_is_its_mean_where_it_is_missing_elsewhere():
    network = river()
    model = stirred(ParameterModel(["slope", "forest"], hidden=()), 0.5)
    with torch.no_grad():
        model.layers.straight.weight[:, 2:] = 0.0  # as training leaves it, where nothing is missing
    model.prepare(network)
    holed = network.assign(forest=xr.full_like(network["forest"], np.nan))
    mean = network.assign(forest=xr.full_like(network["forest"], float(network["forest"].mean())))
    with pytest.warns(UserWarning, match="'forest' on 30 of 30"):
        found = model(holed)
    for name, value in model(mean).items():
        np.testing.assert_allclose(found[name].detach(), value.detach(), rtol=1e-12)


# ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_attributes_are_standardised_and_skewed_ones_as_logarithms():
    network = river()
    model = ParameterModel(["slope", "forest"])
    features = model.inputs(network).features.numpy()
    np.testing.assert_allclose(features[:, :2].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(features[:, :2].std(axis=0), 1.0, rtol=1e-12)
    logarithm = np.log(network["slope"].values)
    assert np.corrcoef(features[:, 0], logarithm)[0, 1] > 0.99999
    assert np.corrcoef(features[:, 1], network["forest"].values)[0, 1] == pytest.approx(1.0, abs=1e-12)
    plain = ParameterModel(["slope", "forest"], log=()).inputs(network).features.numpy()
    assert np.corrcoef(plain[:, 0], network["slope"].values)[0, 1] == pytest.approx(1.0, abs=1e-12)


def test_zeros_and_negative_values_of_a_logarithm_are_finite():
    network = river()
    model = ParameterModel(["slope"])
    model.prepare(network)
    for flat in (0.0, -1e-5):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # far outside, which is another test's
            features = model.inputs(network.assign(slope=network["slope"] * 0 + flat)).features
        assert torch.isfinite(features).all() and (features[:, 0] < features.new_zeros(1)).all()


@pytest.mark.parametrize(
    ("name", "factor", "units"),
    [("length", 1e-3, "km"), ("uparea", 1e6, "m2"), ("uparea", 100.0, "ha"), ("slope", 1e3, "m km-1")],
)
def test_units_are_converted_at_prediction(name, factor, units):
    network = river()
    model = stirred(ParameterModel(ATTRIBUTES), 0.3)
    expected = model(network)
    other = network.assign({name: (network[name] * factor).assign_attrs(units=units)})
    for parameter, value in model(other).items():
        np.testing.assert_allclose(value.detach(), expected[parameter].detach(), rtol=1e-9)


def test_units_of_another_kind_are_refused():
    network = river()
    model = ParameterModel(["uparea"])
    model.prepare(network)
    with pytest.raises(UnitsError, match=r"'uparea' is in 'km', and was in 'km2'"):
        model(network.assign(uparea=network["uparea"].assign_attrs(units="km")))


def test_units_that_are_not_understood_are_compared_as_they_are_written():
    network = river()
    warm = network.assign(forest=network["forest"].assign_attrs(units="degC"))
    model = ParameterModel(["forest"]).prepare(warm)
    model(warm)
    with pytest.raises(UnitsError, match="degC"):
        model(network.assign(forest=network["forest"].assign_attrs(units="K")))


def test_what_lies_far_outside_of_what_was_trained_on_is_told():
    network = river()
    model = ParameterModel(["slope", "forest"]).prepare(network)
    with pytest.warns(UserWarning, match=r"'forest' on 30 of 30 reaches .*units"):
        model(network.assign(forest=network["forest"] * 100 + 50))


def test_an_attribute_that_is_the_same_everywhere_teaches_nothing_and_says_so():
    network = river().assign(forest=3.0)
    with pytest.warns(UserWarning, match="nothing is learned from 'forest'"):
        model = ParameterModel(["slope", "forest"]).prepare(network)
    assert (model.inputs(network).features[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": np.inf}, r"'slope' is infinite on 1 reaches: 4"),
        ({"slope": -9999.0}, r"'slope' is -9999.0 on 1 reaches, which stands for what is missing: 4"),
        ({"length": 0.0}, r"'length' is missing, infinite, zero or negative on 1 reaches: 4"),
        ({"length": np.nan}, r"'length' is missing"),
    ],
)
def test_values_that_are_none_are_refused_by_reach(change, message):
    network = river()
    for name, value in change.items():
        values = network[name].copy()
        values[3] = value
        network = network.assign({name: values})
    with pytest.raises(ParameterError, match=message):
        ParameterModel(["slope"]).inputs(network)


def test_attributes_that_are_not_there_or_no_numbers_are_named():
    network = river()
    with pytest.raises(ParameterError, match=r"no attribute 'width' .*'slope'"):
        ParameterModel(["width"])(network)
    with pytest.raises(ParameterError, match=r"network.assign\(strahler=network.strahler\)"):
        ParameterModel(["strahler"])(network)
    ParameterModel(["strahler"])(network.assign(strahler=network.strahler))
    with pytest.raises(ParameterError, match="'rock' is text"):
        ParameterModel(["rock"])(network.assign(rock="karst"))
    with pytest.raises(ParameterError, match="missing .* on all 30 reaches"):
        ParameterModel(["forest"])(network.assign(forest=np.nan))
    with pytest.raises(ParameterError, match="'forest'.*infinite|no attribute"):
        trained = ParameterModel(["forest"]).prepare(network)
        trained.predict(Network(network.dataset.drop_vars("forest")))


# ── what it is made with ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": []}, "attributes are names"),
        ({"attributes": ["a", "a"]}, "'a' more than once"),
        ({"attributes": ["k"]}, "'k' cannot be learned from itself"),
        ({"parameters": [3]}, "parameters are names"),
        ({"hidden": (0,)}, "hidden"),
        ({"hidden": "wide"}, "hidden"),
        ({"celerity": (3.0, 1.0)}, "celerity"),
        ({"celerity": 2.0}, "celerity"),
        ({"physics": "yes"}, "physics"),
        ({"log": ["b"]}, "log names 'b'"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_is_none_is_refused(options, message):
    with pytest.raises(ParameterError, match=message):
        ParameterModel(**{"attributes": ["slope"], **options})


def test_parameters_of_other_schemes_and_schemes_that_were_not_learned_are_refused():
    with pytest.raises(ParameterError, match=r"'k', 'x'.*hayami"):
        ParameterModel(["slope"]).prepare(river(scheme="hayami"))
    model = ParameterModel(["slope"], ["tau"]).prepare(river(scheme="linear_storage"))
    with pytest.raises(ParameterError, match="nash_cascade"):
        model(river(scheme="nash_cascade"))  # whose tau is another thing
    same = ParameterModel(["slope"]).prepare(river())
    same(river(scheme="muskingum_exact"))  # whose k and x are the same


def test_a_mean_celerity_beyond_the_bounds_is_told():
    network = river()
    fast = network.assign(k=network["k"] / 1000)
    with pytest.warns(UserWarning, match="m s-1, which is outside"):
        values = ParameterModel(["slope"])(fast)
    assert (network["length"].values / values["k"].detach().numpy()).max() < 20.0


def test_the_seed_decides_the_weights_and_leaves_other_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    one, two, other = ParameterModel(["a"]), ParameterModel(["a"]), ParameterModel(["a"], seed=1)
    assert torch.equal(torch.rand(3), expected)
    weights = [m.layers.hidden[0].weight for m in (one, two, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


# ── networks out ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_predicted_parameters_stand_in_the_units_of_the_network_and_are_marked():
    network = river()
    hours = network.assign(k=(network["k"] / 3600).assign_attrs(units="h", note="mine", estimated="by hand"))
    model = stirred(ParameterModel(ATTRIBUTES), 0.3).prepare(network)
    si = model(network)["k"].detach().numpy()
    found = model.predict(hours)
    np.testing.assert_allclose(found["k"].values * 3600, si, rtol=1e-12)
    assert (
        found["k"].attrs["units"] == "h" and found["k"].attrs["note"] == "mine" and "estimated" not in found["k"].attrs
    )
    assert "slope, length" in found["k"].attrs["learned"] and "k, x" in found.attrs["learned"]
    assert found["slope"].identical(hours["slope"]) and found.fingerprint == hours.fingerprint
    assert hours["k"].attrs["estimated"] == "by hand"


def test_a_network_without_parameters_gets_them_and_the_scheme():
    network = river()
    model = stirred(ParameterModel(ATTRIBUTES), 0.3).prepare(network)
    dataset = network.dataset.drop_vars(["k", "x"])
    del dataset.attrs["scheme"]
    found = model.predict(dataset)
    assert found.attrs["scheme"] == "muskingum" and found["k"].attrs["units"] == "s"
    expected = model.predict(network)
    for name in ("k", "x"):
        np.testing.assert_array_equal(found[name].values, expected[name].values)
    runoff = xroute.datasets.storm_runoff(network, 24)
    assert np.isfinite(runoff.route(found)).all()


def test_a_prediction_does_not_depend_on_the_order_of_reaches():
    network = river()
    model = stirred(ParameterModel(ATTRIBUTES), 0.3).prepare(network)
    order = np.random.default_rng(0).permutation(network.n_reaches)
    other = model.predict(network.dataset.isel(reach=order))
    expected = model.predict(network)
    xr.testing.assert_allclose(other["k"].sortby("reach"), expected["k"].sortby("reach"), rtol=1e-14)


def test_it_must_have_seen_a_network_before_it_predicts():
    with pytest.raises(ParameterError, match="no network yet"):
        ParameterModel(["slope"]).predict(river())


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_model_goes_to_a_file_and_back(tmp_path):
    network, other = river(), river(9, 4, 7)
    model = stirred(ParameterModel(ATTRIBUTES, hidden=(5,), celerity=(0.1, 9.0), log=["slope"]), 0.3).prepare(network)
    model.save(tmp_path / "model.npz")
    again = ParameterModel.load(tmp_path / "model.npz")
    assert again.config() == model.config() and again.standard == model.standard and again.forms == model.forms
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # far outside
        for name, value in model(other).items():
            assert torch.equal(again(other)[name], value)
    with pytest.raises(FileExistsError, match="overwrite"):
        model.save(tmp_path / "model.npz")
    model.save(tmp_path / "model.npz", overwrite=True)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "other.npz"
    with pytest.raises(FileNotFoundError):
        ParameterModel.load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ParameterError, match=r"other.npz is no file of a ParameterModel"):
        ParameterModel.load(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(ParameterError, match=r"no file of a ParameterModel"):
        ParameterModel.load(path)
    np.savez(path, index=np.array({"format": "pickled"}, dtype=object))
    with pytest.raises(ParameterError, match=r"other.npz .*a file of a ParameterModel"):
        ParameterModel.load(path)
    ParameterModel(["slope"]).prepare(river()).save(path, overwrite=True)
    with np.load(path) as file:
        arrays = dict(file)
    index = json.loads(arrays["index"].tobytes())
    weights = index["tree"]["dict"][1][1]["dict"]

    def changed(**how):
        return np.frombuffer(json.dumps({**index, **how}).encode(), np.uint8)

    np.savez(path, **{**arrays, "index": changed(form=2)})
    with pytest.raises(ParameterError, match="another version of xroute .form 2"):
        ParameterModel.load(path)
    np.savez(path, **{**arrays, "index": changed(kind="xroute.Calibration")})
    with pytest.raises(ParameterError, match=r"no file of a ParameterModel, but holds 'xroute.Calibration'"):
        ParameterModel.load(path)
    weights.remove(next(entry for entry in weights if entry[0] == "layers.last.weight"))
    np.savez(path, **{**arrays, "index": changed()})
    with pytest.raises(ParameterError, match="damaged"):
        ParameterModel.load(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ParameterError, match=r"no file of a ParameterModel"):
        ParameterModel.load(path)


def test_states_are_loaded_with_what_the_model_knows_and_refused_by_others():
    network = river()
    model = stirred(ParameterModel(["slope"]), 0.3).prepare(network)
    again = ParameterModel(["slope"])
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(network)["k"], model(network)["k"])
    with pytest.raises(ParameterError, match="'slope'"):
        ParameterModel(["forest"]).load_state_dict(model.state_dict())
    copied = copy.deepcopy(model)
    assert torch.equal(copied(network)["x"], model(network)["x"])
    half = copy.deepcopy(model).half()
    assert all(p.dtype == torch.float64 for p in half.parameters())
    assert torch.equal(half(network)["x"], model(network)["x"])


# ── formulas ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_formulas_are_worked_out_and_anything_else_is_refused():
    assert evaluate("n * tau + 2 ** (1 / b)", {"n": 3.0, "tau": 2.0, "b": 0.5}) == 10.0
    for wrong in ("__import__('os')", "n.real", "n[0]", "m", "n +", "abs(n)"):
        with pytest.raises(ValueError, match="formula"):
            evaluate(wrong, {"n": 1.0})
    assert [time_power(SCHEMES["hayami"], name) for name in ("length", "diffusivity", "celerity")] == [0, 0, -1]
    assert [time_power(SCHEMES["nash_cascade"], name) for name in ("tau", "n")] == [1, 0]
