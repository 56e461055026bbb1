"""Threads that are kept between calls, for starting them takes as long as routing a small network.

There is one pool in a process, for all who route in it, and it grows to what is asked for. Whoever calls works too: it waits for
nobody who has not begun, so that calls from any number of threads at once, from threads of the pool, or while the interpreter
ends cannot wait for one another. A process that is forked begins with a pool of its own.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

__all__ = ["on_threads"]

_POOLS: list[tuple[int, ThreadPoolExecutor]] = []
"""The pool and how many threads it may have, once there is one."""
_LOCK = [threading.Lock()]


def on_threads(function: Callable[[Any], Any], items: Iterable[Any], threads: int) -> list[Any]:
    """What a function gives for each item, in their order, computed on so many threads, the caller's among them.

    The first error is raised once no thread works on any item any more.
    """
    items = list(items)
    threads = min(threads, len(items))
    if threads <= 1:
        return [function(item) for item in items]
    todo = deque(enumerate(items))
    results: list[Any] = [None] * len(items)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                at, item = todo.popleft()
            except IndexError:
                return
            try:
                results[at] = function(item)
            except BaseException as error:
                errors.append(error)

    helpers = _begin(work, threads - 1)
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()
    if errors:
        raise errors[0]
    return results


def _begin(work: Callable[[], None], n: int) -> list[Future[None]]:
    """Let up to ``n`` threads of the pool work; none where there can be no new ones, as when the interpreter ends."""
    with _LOCK[0]:
        if not _POOLS or _POOLS[0][0] < n:
            for _, old in _POOLS:
                old.shutdown(wait=False)  # what it has been given it ends
            _POOLS[:] = [(n, ThreadPoolExecutor(n, thread_name_prefix="xroute"))]
        try:
            return [_POOLS[0][1].submit(copy_context().run, work) for _ in range(n)]
        except RuntimeError:
            return []


def _forget() -> None:
    """A child has none of its parent's threads, and the lock may have been held by one of them."""
    _POOLS.clear()
    _LOCK[0] = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
