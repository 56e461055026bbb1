"""Runs of `route_to_zarr` that are killed: before a numbered change of the disk, or after a time. Not a test itself.

One process has everything imported and compiled, and forks a child for each run, so that a kill costs little:
``python tests/kills.py FOLDER [N]`` kills N times and tells what did not end equal.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import xroute

#: All by which a folder is changed, but for files that are written: those are in the run's own folder until they are renamed.
CHANGES = ("mkdir", "unlink", "rmdir", "replace", "rename")
N_TIME = 150


def series() -> tuple[xroute.Network, xr.DataArray]:
    """A small river, and runoff."""
    network = xroute.Network(xroute.datasets.scheidegger(12, 10, seed=1))
    values = np.random.default_rng(0).random((N_TIME, network.n_reaches)).astype(np.float32)
    times = np.datetime64("2001-01-01", "ns") + np.arange(N_TIME) * np.timedelta64(1, "h")
    return network, xr.DataArray(
        values, {"time": times, "reach": network.ids}, ("time", "reach"), attrs={"units": "m3 s-1"}
    )


@cache
def warm() -> Callable[[Path, int, str], None]:
    """A run of so many blocks, all that it needs loaded; threads do not outlive a fork, so it is not tried on a store."""
    import dask.array  # noqa: F401
    import tqdm  # noqa: F401
    import zarr  # noqa: F401

    import xroute.fence  # noqa: F401

    network, runoff = series()
    runoff.isel(time=slice(0, 2)).route(network, device="cpu")

    def run(store: Path, blocks: int, mode: Any) -> None:
        xroute.route_to_zarr(
            runoff, network, store, time_chunk=N_TIME // blocks, mode=mode, progress=False, device="cpu"
        )

    return run


def forked(work: Callable[[], None], *, before: int = 0, after: float | None = None) -> bool:
    """Do something in a child, killed before the so many-th change of the disk or after some seconds; whether it was."""
    child = os.fork()
    if not child:
        try:
            if before:
                _arm(before)
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)  # a child that has ended is not yet waited for, so the number is its own
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise AssertionError(f"the run failed by itself: {status}")
    return status != 0


def overtaken(first: Callable[[], None], second: Callable[[], None], *, before: int) -> bool | None:
    """Stop a child before the so many-th change of the disk, do something else, and let it go on.

    Returns whether the child then ended well; None if it came to its end before it was stopped.
    """
    child = os.fork()
    if not child:
        try:
            with open(os.devnull, "w") as null:
                os.dup2(null.fileno(), 2)
            _arm(before, signal.SIGSTOP)
            first()
            os._exit(0)
        finally:
            os._exit(1)
    if not os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]):
        return None
    try:
        forked(second)
    finally:
        os.kill(child, signal.SIGCONT)
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) == 0


def _arm(before: int, what: int = signal.SIGKILL) -> None:
    left = itertools.count(before - 1, -1)

    def deadly(original: Any, *args: Any, **kwargs: Any) -> Any:
        if next(left) == 0:
            os.kill(os.getpid(), what)
        return original(*args, **kwargs)

    for name in CHANGES:
        setattr(os, name, partial(deadly, getattr(os, name)))


def contents(store: Path) -> dict[str, Any]:
    """All that a store holds but the date in its history: metadata, and bytes of chunks; empty folders too."""
    found: dict[str, Any] = {}
    for path in sorted(store.rglob("*")):
        name = str(path.relative_to(store))
        found[name] = path.read_bytes() if path.is_file() else None
        if path.name == "zarr.json":
            text = json.dumps(json.loads(found[name]), sort_keys=True)
            found[name] = (
                text.replace(text[text.find("20", text.find('"history": "')) :][:20], "") if "history" in text else text
            )
    return found


def differences(one: Path, two: Path) -> list[str]:
    """Names under which two stores differ."""
    a, b = contents(one), contents(two)
    return sorted(name for name in a.keys() | b.keys() if a.get(name, "") != b.get(name, ""))


def in_lanes(store: Path, blocks: int, mode: Any) -> None:
    """Members that are routed one after another, read through a scratch file, with a state that is kept on the way."""
    network, runoff = series()
    members = xr.concat([runoff, 2 * runoff, 3 * runoff], "member").assign_attrs(runoff.attrs).chunk(member=3, time=100)
    xroute.route_to_zarr(
        members, network, store, time_chunk=N_TIME // blocks, memory=100_000, mode=mode, progress=False, device="cpu",
        state_time="70h",
    )  # fmt: skip


def campaign(
    folder: Path, moments: list[list[dict[str, Any]]], *, blocks: int = 3, mode: str = "w-", lanes: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """For each list of moments (`forked`), a store whose run is killed at each; yields how often it was, and what differs.

    With ``mode="w"`` the first of them replaces the finished run of another network. With ``lanes`` members are routed one
    after another.
    """
    run, whole = in_lanes if warm() and lanes else warm(), folder / "whole.zarr"
    forked(lambda: run(whole, blocks, "w-"))
    other = folder / "other.zarr"
    if mode == "w":
        forked(lambda: _another(other))
    for number, each in enumerate(moments):
        store, killed = folder / f"store{number}.zarr", 0
        if mode == "w":
            shutil.copytree(other, store)
        for moment in each:
            killed += forked(partial(run, store, blocks, mode), **moment)
        forked(partial(run, store, blocks, mode))
        yield killed, differences(store, whole)
        shutil.rmtree(store)


def overtakings(
    folder: Path, moments: list[int], *, same: bool, began: bool = False
) -> Iterator[tuple[bool | None, list[str]]]:
    """For each moment, a run that is stopped there, overtaken and let go on: whether it ended well, and what differs.

    It is overtaken by the same run, which resumes it, or by another with ``mode="w"``; the store must be as that leaves it.
    With ``began`` it had been killed before, and resumes.
    """
    run, whole = warm(), folder / "whole.zarr"
    second = partial(run, blocks=3, mode="w-") if same else partial(_another, mode="w")
    forked(partial(second, whole))
    for number, before in enumerate(moments):
        store = folder / f"store{number}.zarr"
        if began:
            forked(partial(run, store, 3, "w-"), before=60)
        ended = overtaken(partial(run, store, 3, "w-"), partial(second, store), before=before)
        yield ended, differences(store, whole)
        shutil.rmtree(store)


def _another(store: Path, mode: Any = "w-") -> None:
    network, runoff = series()
    xroute.route_to_zarr(
        2 * runoff.assign_attrs(units="m3 s-1"),
        network, store, substeps=2, time_chunk=50, mode=mode, progress=False, device="cpu",
    )  # fmt: skip


def _main(folder: Path, n: int) -> None:
    rng = np.random.default_rng(7)
    first = [[{"before": k}] for k in range(1, 41)]
    twice = [[{"before": int(a)}, {"before": int(b)}] for a, b in rng.integers(1, 110, (n // 4, 2))]
    late = [[{"after": float(t)} for t in rng.uniform(0.0, 0.4, 4)] for _ in range(n // 8)]
    begin, total, bad = time.perf_counter(), 0, 0
    for what, moments, mode in (
        ("before each of its first 40 changes of the disk", first, "w-"),
        ("the same, where it replaces another run", first, "w"),
        ("twice, before a random change", twice, "w-"),
        ("four times, at a random time", late, "w-"),
    ):
        killed = 0
        for k, different in campaign(Path(folder), moments, mode=mode):
            killed += k
            bad += bool(different)
            if different:
                print(f"differs: {different}", flush=True)
        shutil.rmtree(folder / "whole.zarr")
        shutil.rmtree(folder / "other.zarr", ignore_errors=True)
        total += killed
        print(f"{killed:4} kills {what}; {time.perf_counter() - begin:.0f} s so far", flush=True)
    print(f"{total} kills in all, {bad} stores that did not end equal")
    sys.exit(bool(bad))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    _main(target, int(sys.argv[2]) if len(sys.argv) > 2 else 40)
