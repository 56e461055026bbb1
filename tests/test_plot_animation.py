"""Animations: as many frames as steps, colours and widths that follow the data by id, one scale, nothing left half written."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xroute.datasets import scheidegger, storm_runoff
from xroute.exceptions import AlignmentError, ParameterError, TimeAxisError

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from PIL import Image  # noqa: E402

from xroute.plotting import animation  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def network():
    return scheidegger(6, 5)


@pytest.fixture(scope="module")
def discharge(network):
    return storm_runoff(network, 24, dtype=float).route(network)


def frames_of(path):
    with Image.open(path) as file:
        found = []
        for k in range(file.n_frames):
            file.seek(k)
            found.append(np.asarray(file.convert("RGB"), int))
        return found, file.info


def test_a_frame_for_each_step_and_a_picture_that_changes(network, discharge, tmp_path):
    path = network.river.animate(discharge, tmp_path / "flood.gif", every=4, fps=5, dpi=50, progress=False)
    frames, info = frames_of(path)
    assert path == tmp_path / "flood.gif" and len(frames) == 6 and info["duration"] == 200 and info["loop"] == 0
    assert frames[0].shape == (350, 350, 3)
    low = [frame[40:].copy() for frame in frames]  # without the title, in which the time stands
    assert all(np.abs(a - b).sum() > 0 for a, b in zip(low, low[1:], strict=False))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flood.gif"]


def test_still_water_gives_the_same_picture_but_for_its_time(network, discharge, tmp_path):
    still = discharge.isel(time=slice(0, 2)) * 0 + 3
    frames, _ = frames_of(network.river.animate(still, tmp_path / "still.gif", dpi=50, progress=False))
    assert len(frames) == 2 and np.abs(frames[0][40:] - frames[1][40:]).max() < 25


def test_colours_and_widths_follow_by_id_on_one_scale(network, discharge):
    shuffled = discharge.isel(reach=np.random.default_rng(1).permutation(discharge.sizes["reach"]))
    film = network.river.animate(shuffled)
    ax = film._fig.axes[0]
    lines = ax.collections[0]
    norm = lines.norm.vmin, lines.norm.vmax
    assert norm[1] == pytest.approx(float(discharge.max()))
    ids = network.reach.values[(network.downstream != 0).values]
    largest = float(discharge.max())
    for j in (0, 9, 23):
        film._func(j)
        assert (lines.norm.vmin, lines.norm.vmax) == norm
        now = discharge.isel(time=j)
        np.testing.assert_allclose(np.sort(lines.get_array()), np.sort(now.sel(reach=ids)))
        widths = 0.35 + 3.4 * np.sqrt(np.asarray(lines.get_array()) / largest)
        np.testing.assert_allclose(lines.get_linewidths(), widths)
        assert ax.get_title(loc="left") == str(now.time.values.astype("datetime64[m]")).replace("T", " ")
    segment = {tuple(np.round(s[0], 9)): v for s, v in zip(lines.get_segments(), lines.get_array(), strict=True)}
    head = network.sel(reach=network.river.headwaters[0])
    assert segment[round(float(head.lon), 9), round(float(head.lat), 9)] == pytest.approx(
        float(discharge.sel(reach=head.reach).isel(time=23))
    )


def test_a_notebook_shows_a_player(network, discharge):
    film = network.river.animate(discharge, every=12, width="strahler", title="Flood")
    assert film._repr_html_().count("data:image/png") >= 2
    assert film._fig.axes[0].get_title(loc="left").startswith("Flood, ")
    widths = film._fig.axes[0].collections[0].get_linewidths()
    film._func(1)
    np.testing.assert_array_equal(film._fig.axes[0].collections[0].get_linewidths(), widths)


def test_it_is_read_in_blocks(network, discharge, monkeypatch, tmp_path):
    monkeypatch.setattr(animation, "BLOCK", 8 * network.sizes["reach"] * 5)
    lazy, sizes = discharge.chunk(time=1), []
    counted = lazy.map_blocks(lambda b: sizes.append(b.sizes["time"]) or b, template=lazy)
    whole = network.river.animate(discharge, tmp_path / "a.gif", every=6, dpi=40, progress=False)
    parts = network.river.animate(counted, tmp_path / "b.gif", every=6, dpi=40, progress=False)
    assert len(sizes) == 4  # the four frames, in a block, kept
    for a, b in zip(frames_of(whole)[0], frames_of(parts)[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_long_series_have_so_many_frames(network, discharge, monkeypatch):
    monkeypatch.setattr(animation, "MOST_FRAMES", 10)
    assert network.river.animate(discharge)._save_count == 8  # every third step
    assert network.river.animate(discharge, every=1)._save_count == 24
    assert network.river.animate(discharge, time=slice(discharge.time[3], discharge.time[6]))._save_count == 4


def test_calendars_members_gaps_and_trees(network, discharge, tmp_path):
    noleap = xr.date_range("2001-02-28", periods=24, freq="h", calendar="noleap", use_cftime=True)
    q = discharge.assign_coords(time=noleap).where(discharge.reach != 3).expand_dims(member=3)
    tree = network.drop_vars(["lon", "lat"])
    film = tree.river.animate(q, every=8)
    film._func(2)
    assert film._fig.axes[0].get_title(loc="left") == "2001-02-28 16:00"
    assert np.ma.count_masked(film._fig.axes[0].collections[0].get_array()) == 1
    assert "median of 3 members" in film._fig.axes[1].get_ylabel()
    path = tree.river.animate(q.isel(time=[0]), tmp_path / "one.gif", dpi=40, progress=False)
    assert len(frames_of(path)[0]) == 1
    network.river.animate(discharge * 0)


def test_what_cannot_be_drawn_is_named_before_anything_is_read(network, discharge, tmp_path, monkeypatch):
    def animate(path=tmp_path / "a.gif", q=discharge, **options):
        return network.river.animate(q, path, **options)

    with pytest.raises(ParameterError, match=r"\.gif"):
        animate(tmp_path / "flood.jpg")
    with pytest.raises(ParameterError, match="no folder"):
        animate(tmp_path / "nowhere" / "flood.gif")
    with pytest.raises(ParameterError, match="fps"):
        animate(fps=0)
    with pytest.raises(ParameterError, match="robust.*vmin and vmax"):
        animate(robust=True)
    with pytest.raises(ParameterError, match="every"):
        animate(every=0)
    with pytest.raises(TypeError, match="animate.*colour"):
        animate(colour="red")
    with pytest.raises(TimeAxisError, match="2031"):
        animate(time=slice("2031", "2032"))
    with pytest.raises(AlignmentError, match="lacks 1 reaches.*1"):
        animate(q=discharge.drop_sel(reach=1))
    from matplotlib import animation as theirs

    monkeypatch.setattr(theirs.writers, "is_available", lambda name: False)
    with pytest.raises(ParameterError, match="ffmpeg"):
        animate(tmp_path / "flood.mp4")


def test_discharge_without_a_value_is_told_by_its_frames(network, discharge, tmp_path):
    with pytest.raises(ParameterError, match=f"no value of the {discharge.sizes['time']} frames is a number"):
        animation.animate(network, discharge * np.nan, tmp_path / "a.gif", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_broken_run_leaves_no_file(network, discharge, tmp_path, monkeypatch):
    (tmp_path / "flood.gif").write_bytes(b"older")
    monkeypatch.setattr(animation._Film, "show", _fail_later(animation._Film.show))
    with pytest.raises(KeyboardInterrupt):
        network.river.animate(discharge, tmp_path / "flood.gif", every=6, dpi=40, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["flood.gif"] and (tmp_path / "flood.gif").read_bytes() == b"older"


def _fail_later(show):
    calls = []

    def failing(self, j):
        calls.append(j)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return show(self, j)

    return failing
