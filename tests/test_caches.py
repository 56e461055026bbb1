"""What is kept with an object: made once, the latest few, and not taken along by copies."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from dataclasses import dataclass

import pytest

from xroute.caches import keep, keep_fitting


@dataclass(frozen=True)
class River:
    length: int = 3


def test_made_once_by_many_threads():
    river, made = River(), []

    def make():
        made.append(threading.get_ident())
        time.sleep(0.05)
        return object()

    found = []
    threads = [threading.Thread(target=lambda: found.append(keep(river, ("thing", 1), make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(set(map(id, found))) == 1


def test_nobody_waits_for_what_is_made_of_another():
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(20)
        return 1

    thread = threading.Thread(target=keep, args=(River(), "thing", slow))
    thread.start()
    assert begun.wait(20)
    assert keep(River(), "thing", lambda: 2) == 2  # would wait for ever if there were one lock for all
    go_on.set()
    thread.join()


def test_the_latest_of_each_kind():
    river = River()
    for k in (1, 2, 3):
        assert keep(river, ("square", k), lambda k=k: k * k, most=2) == k * k
    assert keep(river, ("cube", 1), lambda: "another kind", most=2) == "another kind"
    assert keep(river, ("square", 3), lambda: "new", most=2) == 9
    assert keep(river, ("square", 1), lambda: "new", most=2) == "new"


def test_what_fits():
    river = River()
    for k in range(5):
        assert keep_fitting(river, "spans", lambda span, k=k: span == k, lambda k=k: k) == k
    assert [keep_fitting(river, "spans", lambda span, k=k: span == k, lambda: "new") for k in (1, 4, 0)] == [1, 4, "new"]
    assert keep_fitting(river, "others", lambda span: True, lambda: "another kind") == "another kind"


def test_what_raises_is_not_kept():
    river = River()
    with pytest.raises(ZeroDivisionError):
        keep(river, "thing", lambda: 1 // 0)
    assert keep(river, "thing", lambda: 1) == 1


def test_one_thing_may_be_made_of_another_of_the_same_object():
    river = River()
    assert keep(river, "outer", lambda: keep(river, "inner", lambda: 1) + 1) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda river: pickle.loads(pickle.dumps(river))])
def test_copies_begin_with_nothing(copied):
    river = River()
    keep(river, "thing", lambda: threading.Lock())
    other = copied(river)
    assert other == river
    assert keep(other, "thing", lambda: "its own") == "its own"
