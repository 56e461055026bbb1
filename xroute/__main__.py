"""``python -m xroute`` is the ``xroute`` command."""

from __future__ import annotations

from xroute.cli import main

if __name__ == "__main__":
    main(prog_name="xroute")
