"""What is made of an object and kept with it, for as long as it lives: made once, whoever asks, in whatever thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["keep"]

Made = TypeVar("Made")
_LOCK = threading.RLock()
_ATTRIBUTE = "_kept"


def keep(owner: Any, key: Hashable, make: Callable[[], Made], *, most: int = 8) -> Made:
    """What ``make`` gives, kept with ``owner`` under ``key``; asked for again, it is not made again.

    Parameters
    ----------
    owner
        Object with attributes of its own; one that is frozen will do. What is pickled of it should leave out what is kept,
        which may live on a device: see `xroute.schemes.Filter`.
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
    kind = key[0] if isinstance(key, tuple) else key
    with _LOCK:  # made under the lock: what is made here is dear, and two threads that want the same would make it twice
        kept: dict[Hashable, dict[Hashable, Any]] = owner.__dict__.setdefault(_ATTRIBUTE, {})
        of_kind = kept.setdefault(kind, {})
        if key not in of_kind:
            made = make()
            while len(of_kind) >= most:
                del of_kind[next(iter(of_kind))]
            of_kind[key] = made
        found: Made = of_kind[key]
        return found
