"""Losses: values of HydroErr and of plain numpy on vectors with gaps, and gradients that are right and never NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from xroute import ParameterError, losses

NAMES = sorted(losses.LOSSES)


def brute(name: str, simulated: np.ndarray, observed: np.ndarray) -> float:
    """The loss of one gauge in float64, written once more from the literature."""
    there = ~(np.isnan(simulated) | np.isnan(observed))
    s, o = simulated[there].astype(float), observed[there].astype(float)
    if name == "log":
        offset = o.mean() / 100
        s, o = np.log(s + offset), np.log(o + offset)
    if name in ("nse", "log"):
        return float(((s - o) ** 2).sum() / ((o - o.mean()) ** 2).sum())
    if name == "rmse":
        return float(np.sqrt(((s - o) ** 2).mean()))
    r = np.corrcoef(s, o)[0, 1]
    return float(np.sqrt((r - 1) ** 2 + (s.std() / o.std() - 1) ** 2 + (s.mean() / o.mean() - 1) ** 2))


def series(seed: int, n_gauges: int = 5, n: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    observed = rng.gamma(2.0, 10.0, (n_gauges, n))
    simulated = observed * rng.uniform(0.7, 1.4, observed.shape) + rng.gamma(1.0, 1.0, observed.shape)
    observed[rng.random(observed.shape) < 0.3] = np.nan
    simulated[rng.random(observed.shape) < 0.1] = np.nan
    return torch.from_numpy(simulated), torch.from_numpy(observed)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_the_literature(name: str, seed: int) -> None:
    simulated, observed = series(seed)
    found = losses.LOSSES[name](simulated, observed)
    expected = [brute(name, s, o) for s, o in zip(simulated.numpy(), observed.numpy(), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    single = losses.LOSSES[name](simulated.float(), observed.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected, rtol=2e-5)


def test_values_are_those_of_hydroerr() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hydroerr = pytest.importorskip("HydroErr")
    simulated, observed = series(7)
    for k in range(len(simulated)):
        s, o = simulated[k].numpy(), observed[k].numpy()
        one = simulated[k : k + 1], observed[k : k + 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {"nse": 1 - hydroerr.nse(s, o), "kge": 1 - hydroerr.kge_2009(s, o), "rmse": hydroerr.rmse(s, o)}
        for name, value in expected.items():
            tolerance = 2e-2 if name == "kge" else 1e-10  # HydroErr divides by n - 1 in one place and not in another
            assert losses.LOSSES[name](*one).item() == pytest.approx(value, rel=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_differences(name: str) -> None:
    simulated, observed = series(3, 3, 12)
    simulated = torch.nan_to_num(simulated, nan=4.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: losses.LOSSES[name](s, observed), (simulated,), eps=1e-5, atol=1e-6)


def hopeless() -> dict[str, tuple[list[float], list[float]]]:
    nan = float("nan")
    return {
        "no observation": ([1, 2, 3, 4], [nan] * 4),
        "no simulation": ([nan] * 4, [1, 2, 3, 4]),
        "constant observations": ([1, 2, 3, 4], [5.1] * 4),
        "constant with gaps": ([1, 2, 3, 4], [0.1, nan, 0.1, 0.1]),
        "zero discharge": ([0] * 4, [1, 2, 3, 4]),
        "all zero": ([0] * 4, [0] * 4),
        "zero observed": ([1, 2, 3, 4], [0] * 4),
        "constant simulation": ([2.7] * 4, [1, 2, 3, 4]),
        "one pair": ([1, nan, 3, 4], [nan, 7, 2, nan]),
        "perfect": ([1, 2, 3, 4], [1, 2, 3, 4]),
        "zeros in both": ([0, 0, 3, 4], [0, 1, 0, 4]),
        "below zero": ([-2, -1, 3, 4], [0, 1, 0, 4]),
        "tiny": ([1e-30, 2e-30, 3e-30, 4e-30], [2e-30, 1e-30, 2e-30, 3e-30]),
        "huge": ([1e15, 2e15, 3e15, 1e15], [1e15, 2e15, 2e15, 3e15]),
        "nearly constant simulation": ([1, 1, 1, 1 + 1e-7], [1, 2, 3, 4]),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_no_gauge_gives_nan(name: str, dtype: torch.dtype) -> None:
    cases = hopeless()
    if dtype == torch.float16:
        cases = {k: v for k, v in cases.items() if k not in ("huge", "tiny")}
    simulated = torch.tensor([s for s, _ in cases.values()], dtype=dtype, requires_grad=True)
    observed = torch.tensor([o for _, o in cases.values()], dtype=dtype)
    found = losses.LOSSES[name](simulated, observed)
    assert found.isfinite().all(), dict(zip(cases, found.tolist(), strict=True))
    found.sum().backward()
    assert simulated.grad is not None
    bad = [case for case, grad in zip(cases, simulated.grad, strict=True) if not grad.isfinite().all()]
    assert not bad
    silent = (
        "no observation",
        "no simulation",
        *(() if name == "rmse" else ("constant observations", "constant with gaps")),
    )
    for case, grad in zip(cases, simulated.grad, strict=True):
        if case in silent:
            assert (grad == 0).all()
    gaps = torch.isnan(observed) | torch.isnan(simulated)
    assert (simulated.grad[gaps] == 0).all()


def test_what_has_no_meaning_has_the_value_that_is_asked_for() -> None:
    simulated, observed = torch.rand(2, 5), torch.stack([torch.full((5,), 3.0), torch.rand(5)])
    for name in ("nse", "kge", "log"):
        found = losses.LOSSES[name](simulated, observed, undefined=torch.nan)
        assert found.isnan().tolist() == [True, False]


def test_a_gap_is_as_if_it_were_not_there() -> None:
    simulated, observed = series(11, 1, 40)
    there = ~(simulated.isnan() | observed.isnan())[0]
    for name in NAMES:
        whole = losses.LOSSES[name](simulated, observed)
        np.testing.assert_allclose(whole, losses.LOSSES[name](simulated[:, there], observed[:, there]), rtol=1e-12)


def test_losses_of_windows_make_up_that_of_the_whole() -> None:
    simulated, observed = series(5, 4, 90)
    simulated = simulated.nan_to_num(nan=1.0)
    spread = losses.spread_of(observed)
    parts = [slice(0, 20), slice(20, 65), slice(65, 90)]
    counts = [(~observed[:, p].isnan()).sum(dim=-1) for p in parts]
    total = sum(
        losses.nse(simulated[:, p], observed[:, p], spread=spread) * n for p, n in zip(parts, counts, strict=True)
    )
    np.testing.assert_allclose(total / sum(counts), losses.nse(simulated, observed), rtol=1e-12)
    offset = losses.log_offset(observed)
    spread = losses.spread_of(losses.log_transform(observed, offset))
    total = sum(
        losses.log(simulated[:, p], observed[:, p], spread=spread, offset=offset) * n
        for p, n in zip(parts, counts, strict=True)
    )
    np.testing.assert_allclose(total / sum(counts), losses.log(simulated, observed), rtol=1e-12)


def test_more_dimensions_in_front() -> None:
    simulated, observed = series(2, 6, 30)
    for name in NAMES:
        flat = losses.LOSSES[name](simulated, observed)
        deep = losses.LOSSES[name](simulated.reshape(2, 3, 30), observed.reshape(2, 3, 30))
        assert torch.equal(deep.reshape(-1), flat)
        several = losses.LOSSES[name](simulated.reshape(2, 3, 30), observed[:3])  # observations of all members
        assert torch.equal(several[0], losses.LOSSES[name](simulated[:3], observed[:3]))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused(name: str) -> None:
    loss, simulated = losses.LOSSES[name], torch.rand(2, 3, 8, dtype=torch.float64)
    for shape in ((3, 1), (3, 7), (2, 8), ()):  # one step for all would be taken by torch
        with pytest.raises(ParameterError, match=r"shape \(2, 3, 8\), and observed"):
            loss(simulated, torch.rand(shape))
    with pytest.raises(ParameterError, match="observed is a tensor, not a ndarray"):
        loss(simulated, np.ones((3, 8)))
    alike = torch.rand(8, dtype=torch.float64)
    torch.testing.assert_close(loss(simulated, alike), loss(simulated, alike.expand(2, 3, 8)))
