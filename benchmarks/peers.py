"""The arena: every peer that is installed routes what xroute routes. Both are first compared with the truth, then timed in turn.

    python benchmarks/peers.py                     peers that this interpreter can import
    python benchmarks/peers.py --python river-route=PYTHON rapid2=PYTHON      or other interpreters, which need no xroute
    python benchmarks/peers.py --mizuroute PROGRAM --sizes small              a program that has been compiled
    python benchmarks/peers.py --write             its tables into docs/performance.md and README.md
    python benchmarks/peers.py --small             tiny rivers and few runs, to try it

A peer gets the network and runoff in its own files and routes in its own way; xroute does the same by its options (`arena.truth`
has both). Each answers from a process of its own, over a pipe, and each of its runs is followed by one of ours, so that both have
the same of a shared machine. Before any time is reported, discharge of both is compared with a loop in float64 that shares
nothing with either; where one is off, the benchmark ends. Outputs are new files each time, for both.

kernel     arrays in, arrays out; what is known of the network has been made
call       in memory, from runoff to discharge with its times: what a user of either calls, the network having been read
files      netCDF to netCDF, the network read anew
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from arena.ours import Ours, quietly
from arena.problems import SIZES, Problem, make_problem, write_for
from arena.serve import PEERS, processor_time
from arena.tables import Row, long_table, machine, short_table, write_between
from arena.truth import CONVENTIONS, differences

ROOT = Path(__file__).resolve().parents[1]
SERVE = Path(__file__).resolve().parent / "arena" / "serve.py"


class Refused(Exception):
    """A peer cannot do what it was asked, and says why."""


class TooLong(Exception):
    """A peer took longer than it is waited for."""


@contextlib.contextmanager
def peer_process(name: str, python: str, folder: Path, limit: float) -> Iterator[Any]:
    """A function that has the peer do something, and returns its answer."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [python, str(SERVE), name, str(folder)]
    try:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean)
    except OSError as error:
        raise Refused(f"{python}: {error.strerror}") from None
    assert process.stdin is not None and process.stdout is not None
    pipe_in, pipe_out = process.stdin, process.stdout

    def ask(*words: str) -> dict[str, Any]:
        if words:
            print(*words, file=pipe_in, flush=True)
        if not select.select([pipe_out], [], [], limit)[0]:
            raise TooLong
        line = pipe_out.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"{python} ended"}
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    try:
        yield ask
    finally:
        process.kill()
        process.wait()
        pipe_in.close()
        pipe_out.close()


def measure(name: str, python: str, problem: Problem, options: argparse.Namespace) -> list[Row]:
    """Rows of a peer on a problem, of all its cases; none, with a line that says why, where it does not work."""
    convention, folder = CONVENTIONS[name], problem.folder
    try:
        problem = write_for(name, problem)
    except ImportError as error:
        raise Refused(f"{error}") from None
    ours, rows = Ours(problem, convention, gpu=name == "diffroute"), []
    with peer_process(name, python, folder, options.limit) as ask:
        about = ask()
        cases = [case for case in about["cases"] if case in options.cases]
        found, late = {}, {}
        for case in cases:
            ours.prepare(case)
            np.save(folder / f"ours-{case}.npy", ours.found(case, ours.run(case)))
            try:
                ask("prepare", case)
                ask("run", case)  # compiles
                ask("save", case)
            except TooLong:
                late[case] = options.limit
                break  # what it is at cannot be interrupted, and the process ends here
            found |= {f"{who}-{case}": np.load(folder / f"{who}-{case}.npy", mmap_mode="r") for who in ("ours", "peer")}
        off = differences(problem, convention, found)
        for what, value in off.items():
            if not value <= convention.allowed:
                where = f"{what} beside {name}, {problem.text}"
                raise SystemExit(f"WRONG: {where}: off by {value:.1e} of the largest discharge; no figure is reported")
        del found
        for made in folder.glob("*.npy"):  # what they hold of the memory is wanted now
            made.unlink()
        for case in cases[: len(off) // 2 + len(late)]:
            row = Row(name, about["version"], case, problem.text, problem.size, problem.substeps)
            row.gave_up = late.get(case)
            if row.gave_up is None:
                row.difference = max(off[f"ours-{case}"], off[f"peer-{case}"])
            in_turn(ask, ours, row, options)
            rows.append(row)
            print(long_table([row]).splitlines()[-1], flush=True)
    return rows


def in_turn(ask: Any, ours: Ours, row: Row, options: argparse.Namespace) -> None:
    """Runs of both, one after the other, until there are enough or their time is over."""
    began = time.perf_counter()
    for k in range(options.repeats):
        if k >= min(3, options.repeats) and time.perf_counter() - began > options.seconds:
            break
        if row.gave_up is None:
            ask("prepare", row.case)
            answer = ask("run", row.case)
            row.theirs.append((answer["seconds"], answer["processor"]))
        ours.prepare(row.case)
        start, processor = time.perf_counter(), processor_time()
        made = ours.run(row.case)
        row.ours.append((time.perf_counter() - start, processor_time() - processor))
        del made


def run(options: argparse.Namespace) -> list[Row]:
    """All rows, printed as they come."""
    rows, absent = [], {}
    for size in options.sizes:
        for substeps in options.substeps if size == "small" else options.substeps[:1]:
            with tempfile.TemporaryDirectory(dir=options.folder) as made:
                problem = make_problem(size, options.small, substeps, Path(made))
                if options.mizuroute:
                    path = Path(made, "problem.json")
                    path.write_text(json.dumps({**json.loads(path.read_text()), "mizuroute": options.mizuroute}))
                for name in options.peers:
                    if substeps > 1 and not CONVENTIONS[name].has_substeps:
                        continue
                    try:
                        rows += measure(name, options.python.get(name, sys.executable), problem, options)
                    except Refused as error:
                        absent[name] = str(error)
    for name, why in absent.items():
        print(f"{name} is not compared: {why}", flush=True)
    return rows


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line; other words than it knows end the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    small = "--small" in (sys.argv[1:] if words is None else words)
    named = {"scipy"} | ({"mizuroute"} if "--mizuroute" not in (sys.argv if words is None else words) else set())
    usual = [name for name in CONVENTIONS if name not in named]
    parser.add_argument("--peers", nargs="+", choices=list(CONVENTIONS), default=[*usual, "scipy"] if small else usual)
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH", help="interpreters of peers")
    parser.add_argument("--mizuroute", metavar="PROGRAM", help="mizuRoute, compiled")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--cases", nargs="+", choices=["kernel", "call", "files"], default=["kernel", "call", "files"])
    parser.add_argument("--substeps", type=int, nargs="+", default=[1, 12], help="in a step of runoff; other sizes: the first")
    parser.add_argument("--repeats", type=int, default=2 if small else 50, help="runs of each, in turn, at most")
    parser.add_argument("--seconds", type=float, default=2 if small else 60, help="for a case, after which three runs are enough")
    parser.add_argument("--limit", type=float, default=300, help="seconds after which a peer is not waited for")
    parser.add_argument("--folder", help="where files are made, such as a disk that has room")
    parser.add_argument("--small", action="store_true", help="tiny rivers, few runs, and a peer in SciPy, to try it")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md and README.md")
    options = parser.parse_args(words)
    pairs = [word.partition("=") for word in options.python]
    if any(name not in PEERS or not path for name, _, path in pairs):
        parser.error(f"--python takes NAME=PATH, where NAME is one of {', '.join(PEERS)}")
    options.python = {name: path for name, _, path in pairs}
    if options.small and options.write:
        parser.error("--small is to try it: its figures are not to be written")
    return options


def main(words: Sequence[str] | None = None) -> None:
    options = parse(words)
    quietly()
    from xroute.options import n_threads

    where = machine(n_threads())
    print(f"{where}\nfloat32, milliseconds: least (median)\n\n{long_table([])}", flush=True)
    rows = run(options)
    if not rows:
        print("no peer is installed here: name interpreters that have one with --python", flush=True)
    elif options.write:
        command = "`python benchmarks/peers.py`"
        said = f"{command}, {where}. Milliseconds: least (median); ratios are of medians where nothing else is said."
        text = f"{said}\n\n{long_table(rows)}"
        write_between(ROOT / "docs" / "performance.md", text)
        write_between(ROOT / "README.md", f"{short_table(rows)}")


if __name__ == "__main__":
    main()
