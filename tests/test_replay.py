"""Steps of training that are recorded and replayed do what they did before."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import twin_rivers as twins

import xroute
from xroute.learning import replay
from xroute.learning.replay import FIRST, Replays, can_be_replayed


class Recorder:
    """What stands in for a GPU's graph: it does the step again, and leaves what it finds in the same memory each time."""

    def __init__(self, parameters):
        self.parameters, self.recorded, self.replayed = parameters, 0, 0

    def __call__(self, step):
        found = tuple(torch.full_like(t, torch.nan) for t in step())  # a graph finds nothing before it is replayed
        grads = [p.grad for p in self.parameters]
        for grad in grads:
            grad.fill_(torch.nan)
        self.recorded += 1

        def again():
            self.replayed += 1
            before = [p.grad for p in self.parameters]
            for p in self.parameters:
                p.grad = None
            for mine, its in zip(found, step(), strict=True):
                mine.copy_(its)
            for p, grad, old in zip(self.parameters, grads, before, strict=True):
                grad.copy_(p.grad)
                p.grad = old

        return again, found


def steps_of(parameter):
    def step():
        loss = (parameter**2).sum()
        loss.backward()
        return (loss.detach(), parameter.detach() * 3)

    def other():
        loss = (parameter**3).sum()
        loss.backward()
        return (loss.detach(),)

    return {"step": step, "other": other}


@pytest.mark.parametrize("keep", [False, True], ids=["gradients of one step", "gradients of all"])
def test_a_replay_finds_what_the_step_finds(keep):
    """At other values each time; gradients are added to those that are there, and what was found stays as it is."""
    found = {}
    for usable in (False, True):
        parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        recorder, steps = Recorder([parameter]), steps_of(parameter)
        replays, told = Replays([parameter], torch.device("cpu"), usable, recorder), []
        for epoch in range(6):
            if not keep:
                parameter.grad = None
            for key in ("step", "other"):
                told.append(replays.run(key, steps[key]))
            told.append((parameter.grad.clone(),))
            with torch.no_grad():
                parameter += 0.1 * epoch
        found[usable] = [t for one in told for t in one]
        assert recorder.recorded == (2 if usable else 0) and recorder.replayed == (2 * (6 - FIRST) if usable else 0)
    for mine, its in zip(found[True], found[False], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-15, atol=0)


def test_what_cannot_be_recorded_is_done_as_before():
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))

    def refuse(step):
        step()
        raise RuntimeError("operation not permitted when stream is capturing")

    replays = Replays([parameter], torch.device("cpu"), True, refuse)
    for _ in range(5):
        parameter.grad = None
        (loss, _) = replays.run("step", steps_of(parameter)["step"])
        assert float(loss) == 2.0 and parameter.grad.tolist() == [2.0, 2.0]
    assert not replays.usable


def test_an_error_of_the_step_is_its_own():
    """It is no reason to go on."""
    parameter = torch.nn.Parameter(torch.ones(2))

    def wrong():
        raise xroute.ParameterError("a window as long as no river has it")

    replays = Replays([parameter], torch.device("cpu"), True, lambda step: step())
    for _ in range(FIRST + 2):
        with pytest.raises(xroute.ParameterError, match="no river"):
            replays.run("step", wrong)
    assert replays.usable


def problem_of(**changes):
    window = SimpleNamespace(carries=False)
    given = {
        "device": torch.device("cuda", 0), "source": SimpleNamespace(keeps=True), "known": SimpleNamespace(reach=np.empty(0)),
        "windows": (window, window),
    }  # fmt: skip
    return SimpleNamespace(**{**given, **changes})


def test_what_is_the_same_each_time_can_be_replayed():
    network = xroute.datasets.scheidegger(3, 4)
    router = xroute.Router(network, dt="1h", learnable=("k", "x"))
    nse = SimpleNamespace(loss="nse")
    assert can_be_replayed(problem_of(), router, nse)
    for changes in (
        {"device": torch.device("cpu")},
        {"source": SimpleNamespace(keeps=False)},
        {"known": SimpleNamespace(reach=np.arange(1))},
        {"windows": (SimpleNamespace(carries=True),)},
        {"windows": (SimpleNamespace(carries=False),) * (replay.MOST_WINDOWS + 1)},
    ):
        assert not can_be_replayed(problem_of(**changes), router, nse), changes
    assert not can_be_replayed(problem_of(), router, SimpleNamespace(loss=lambda simulated, observed: simulated.sum()))
    hayami = xroute.datasets.scheidegger(3, 4, scheme="hayami")
    assert not can_be_replayed(problem_of(), xroute.Router(hayami, dt="1h", learnable=("celerity",)), nse)
    slow = xroute.Router(network, dt="1h", learnable=("k",), hillslope="none")
    assert can_be_replayed(problem_of(), slow, nse)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(
    "options", [{}, {"groups": "all"}, {"groups": "all", "optimizer": "lbfgs"}, {"loss": "kge"}, {"penalty": 0.1}], ids=str
)
def test_replays_train_as_steps_do(options, monkeypatch):
    """On a GPU, bit for bit."""
    river = xroute.datasets.scheidegger(12, 9)
    runoff = twins.weather(river, "storms", 300, "1h", 0).astype(np.float32)
    discharge = twins.quiet_route(runoff.astype(float), river).isel(reach=slice(-9, None))
    observed, wrong, found = twins.gauged(discharge, 0.5, 0.3, 0), twins.forget(river), []
    used = []
    run = Replays.run
    for usable in (False, True):
        monkeypatch.setattr(replay, "FIRST", FIRST if usable else 10**9)
        monkeypatch.setattr(Replays, "run", lambda self, key, step: (run(self, key, step), used.append(self))[0])
        result = xroute.calibrate(
            runoff, wrong, observed, spinup="1D", device="cuda", progress=False, epochs=8, **{"optimizer": "adam", **options}
        )
        found.append(result)
        assert bool(used[-1]._recorded) == usable and used[-1].usable
    assert found[0].history.identical(found[1].history)
    assert found[0].network.identical(found[1].network)
