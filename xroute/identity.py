"""Identities: digests of what a run is made of, by which another run knows whether it is the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xroute.block_state import BlockState

if TYPE_CHECKING:
    from xroute.run import Run

__all__ = ["digest", "run_identity", "state_digest"]


def run_identity(
    run: Run, start: str, dtype: np.dtype[Any], *, kept: int | None = None, budget: bool = False
) -> dict[str, Any]:
    """What two runs must share for one to go on with the other's store.

    Parameters
    ----------
    run
        With a key, which names what a state must share with it, too.
    start
        Digest of the state that it starts from (`state_digest`).
    dtype
        Type that runoff is read as.
    kept
        Step after which a state is kept, if one is.
    budget
        Whether it writes the water budget.
    """
    layout = run.layout
    assert run.key is not None
    coords = [(n, c.dims, c.compute().values) for n, c in sorted(xr.Coordinates(layout.coords).items(), key=str)]
    slopes = () if run.slopes is None else run.slopes.arrays()
    rows = layout.row, layout.result_row, layout.dims, sorted(map(str, layout.sizes.items()))
    return {
        "form": 5,
        **run.key.attrs(),
        "units": run.units,
        "sampling": run.settings.sampling,
        "nan": run.settings.nan,
        "label": run.clock.label,
        "dtype": str(dtype),
        "parameters": digest(run.network.ids, *run.network.links, *run.filter.arrays(), run.scale, *slopes),
        "coordinates": digest(coords, rows),
        "start": start,
        **({"weights": run.weights} if run.weights else {}),
        **({} if kept is None else {"kept": kept}),
        **({} if run.known is None else {"known": run.known.identity}),
        **({"budget": True} if budget else {}),
    }


def state_digest(lanes: Iterable[tuple[Sequence[int], BlockState]]) -> str:
    """Digest of a state, whatever lanes it is given in: of each the members and what they start from; of none for a dry one."""
    each = [
        (number, digest(*(array[k] for array in state.arrays().values())))
        for members, state in lanes
        for k, number in enumerate(members)
    ]
    return digest(*(of_member for _, of_member in sorted(each)))


def digest(*values: Any) -> str:
    """Hash of arrays and of what prints the same each time."""
    hashed = hashlib.blake2b(digest_size=12)

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            hashed.update(f"({len(value)}".encode())
            for one in value:
                add(one)
        elif isinstance(value, np.ndarray):
            hashed.update(f"{value.dtype.str}{value.shape}".encode())
            plain = value.dtype.kind not in "OT"
            hashed.update(np.ascontiguousarray(value).tobytes() if plain else repr(value.tolist()).encode())
        else:
            hashed.update(repr(value).encode())

    add(values)
    return hashed.hexdigest()
