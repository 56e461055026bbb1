"""Where ids stand among others, beside a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from xroute.ids import positions_of, within


@pytest.mark.parametrize("text", [False, True], ids=["numbers", "text"])
@pytest.mark.parametrize("n_wanted", [0, 1, 7, 90, 100])
def test_positions_of_ids(n_wanted: int, text: bool) -> None:
    rng = np.random.default_rng(n_wanted)
    among = 2**40 + rng.permutation(1000)[:100]
    wanted = 2**40 + rng.integers(0, 1000, n_wanted)  # most are not there, and some are wanted twice
    wanted[: n_wanted // 2] = rng.choice(among, n_wanted // 2)
    wanted[-1:] = wanted[:1]
    if text:
        among, wanted = among.astype(str), wanted.astype(str)
    place = {one: k for k, one in enumerate(among.tolist())}
    assert positions_of(wanted, among).tolist() == [place.get(one, -1) for one in wanted.tolist()]
    assert within(wanted, among).tolist() == [one in place for one in wanted.tolist()]
    assert within(wanted, np.repeat(among, 2)).tolist() == [one in place for one in wanted.tolist()]
