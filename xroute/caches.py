"""What is made of an object and kept with it, for as long as it lives: made once, whoever asks, in whatever thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["KEPT", "keep", "keep_fitting"]

Made = TypeVar("Made")
KEPT = "_kept"
"""Attribute of an object with what is kept of it; a copy of the object that is to be changed leaves it behind."""


class _Kept:
    """All that an object keeps, by kind. A deep copy of the object, or one that has been pickled, begins with nothing."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, dict[Hashable, Any]] = {}
        self.latest_first: dict[Hashable, list[Any]] = {}
        # Held while something is made, since that is dear and two threads that want the same would make it twice. It is of
        # one object, so that nobody waits for what is made of another.
        self.lock = threading.RLock()

    def __reduce__(self) -> Any:
        return _Kept, ()


def _kept_with(owner: Any) -> _Kept:
    kept: _Kept | None = owner.__dict__.get(KEPT)
    return owner.__dict__.setdefault(KEPT, _Kept()) if kept is None else kept


def keep(owner: Any, key: Hashable, make: Callable[[], Made], *, most: int = 8) -> Made:
    """What ``make`` gives, kept with ``owner`` under ``key``; asked for again, it is not made again.

    Parameters
    ----------
    owner
        Object with attributes of its own; one that is frozen will do.
    key
        A tuple whose first entry says what it is: of each kind the latest ``most`` are kept, the oldest going first.
    make
        Called without arguments. If it raises, nothing is kept.
    most
        How many of this kind to keep.

    Examples
    --------
    >>> from xroute.caches import keep
    >>> class River: ...
    >>> river = River()
    >>> keep(river, ("length",), lambda: 7), keep(river, ("length",), lambda: 8)
    (7, 7)
    """
    kept = _kept_with(owner)
    with kept.lock:
        of_kind = kept.by_key.setdefault(key[0] if isinstance(key, tuple) else key, {})
        if key not in of_kind:
            made = make()
            while len(of_kind) >= most:
                del of_kind[next(iter(of_kind))]
            of_kind[key] = made
        found: Made = of_kind[key]
        return found


def keep_fitting(
    owner: Any, kind: Hashable, fits: Callable[[Made], bool], make: Callable[[], Made], *, most: int = 4
) -> Made:
    """`keep` for what has no key: the latest kept of a kind that ``fits``, or else a new one.

    Examples
    --------
    >>> from xroute.caches import keep_fitting
    >>> class River: ...
    >>> river = River()
    >>> [keep_fitting(river, "bridge", lambda span: span >= least, lambda: least + 1) for least in (7, 8, 9)]
    [8, 8, 10]
    """
    kept = _kept_with(owner)
    with kept.lock:
        latest = kept.latest_first.setdefault(kind, [])
        for one in latest:
            if fits(one):
                found: Made = one
                return found
        made = make()
        latest[:] = [made, *latest[: most - 1]]
        return made
