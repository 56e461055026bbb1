"""Progress bars: those of notebooks in a notebook, of text elsewhere."""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["progress_bar"]


def progress_bar(*, shown: bool, **options: Any) -> Any:
    """A bar of tqdm, to be used in a ``with`` block.

    Parameters
    ----------
    shown
        Whether it is; one that is not costs nothing.
    **options
        As tqdm takes them: ``total``, ``unit``, ...

    Returns
    -------
    tqdm.tqdm
        In a notebook, where ipywidgets is installed, a widget; elsewhere text on stderr.

    Examples
    --------
    >>> from xroute.bars import progress_bar
    >>> with progress_bar(shown=False, total=3) as bar:
    ...     _ = bar.update(2)
    """
    if not shown:
        from tqdm import tqdm

        return tqdm(disable=True, **options)
    with warnings.catch_warnings():
        # Without ipywidgets the import warns that a bar of text takes the place of a widget. Whoever routes has no use for that.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm as auto
    return auto(file=sys.stderr, **options)
