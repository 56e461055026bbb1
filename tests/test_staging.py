"""The way of an array to a device through two pinned buffers, with copies that happen as late as they may."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from late_copies import LateCopies

from xroute.engine.gpu import staging
from xroute.engine.gpu.patch_blocks import _sizes


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(0, 7)] * 3), st.permutations(range(3)), st.tuples(*[st.booleans()] * 3),
    st.sampled_from(["float32", "float64", ">f4", ">f8"]), st.booleans(), st.sampled_from([8, 16, 40, 64, 2**10]),
)  # fmt: skip
def test_arrays_arrive(shape, order, flipped, dtype, writeable, n_bytes):
    """In any layout, byte order and size of the buffers: of their shape, contiguous, in the machine's own byte order."""
    rng = np.random.default_rng(0)
    array = np.asarray(rng.random([shape[k] for k in order]), dtype).transpose(np.argsort(order))
    array = array[tuple(slice(None, None, -1 if flip else 1) for flip in flipped)]
    array.flags.writeable = writeable
    copies = LateCopies()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "STAGE_BYTES", n_bytes)
        stage = staging.Stage(copies)
        found = [stage.send(part) for part in (array, 2 * array, array[..., :3])]
    copies.finish()
    for one, expected in zip(found, (array, 2 * array, array[..., :3]), strict=True):
        assert one.is_contiguous() and tuple(one.shape) == expected.shape
        np.testing.assert_array_equal(one.numpy(), expected)
    assert copies.counts["send"] >= -(-array.nbytes // n_bytes)


def test_buffers_are_made_once_and_only_where_they_are_needed():
    copies = LateCopies()
    stage = staging.Stage(copies)
    assert stage.send(np.empty((2, 0, 3))).shape == (2, 0, 3)
    assert copies.counts["pinned"] == 0
    for _ in range(3):
        stage.send(np.ones((2, 2, 3)))
    assert copies.counts["pinned"] == 2


def test_the_stand_in_finds_what_is_not_waited_for():
    """Else the tests above would say nothing."""
    copies = LateCopies()
    buffer, target, done = torch.ones(3), torch.zeros(3), copies.event()
    copies.send(buffer, target, done)
    assert target.isnan().all()
    buffer += 1
    with pytest.raises(AssertionError, match="written to before it was copied"):
        done.synchronize()
    copies = LateCopies()
    result = copies.pinned((3,), torch.float32)
    copies.fetch(torch.ones(3), result)
    assert result.isnan().all()
    copies.fetched()
    assert result.tolist() == [1.0, 1.0, 1.0]


@given(st.integers(0, 300), st.integers(1, 40))
def test_blocks_of_patches_are_all_of_them(n_patches, most):
    """Each of at most so many; the first and the last are among the smallest but the one that is what remains."""
    sizes = _sizes(n_patches, most)
    assert sum(sizes) == n_patches and all(0 < size <= most for size in sizes)
    if n_patches > 4 * most:
        assert sizes[0] == sizes[-1] == max(1, most // 8)
