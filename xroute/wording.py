"""How messages name an argument: ``dt=`` to whoever calls from Python, ``--dt`` to whoever uses the command line.

A message that says what to do names each argument by `argument`, and other advice that is not the same for all by `phrase`.
Both speak Python, until whoever shows messages puts `Words` of its own in their place, as the command line does
(`xroute.cli.messages`). So the package knows no option of a command, and nothing that it says is rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Words", "argument", "phrase", "speak", "speaking"]


@dataclass(frozen=True)
class Words:
    """The words of those who do not call from Python.

    Attributes
    ----------
    argument
        Makes the name of an argument, and its value or None, what it is called there.
    phrases
        Other advice by its key; what has no key there is said as in Python.
    """

    argument: Callable[[str, object], str]
    phrases: Mapping[str, str]


_words: Words | None = None


def argument(name: str, value: object = None, python: str | None = None) -> str:
    """An argument, with or without a value, as whoever reads the message gives it.

    Parameters
    ----------
    name, value
        The argument, and what to give it, if that is said too.
    python
        Words in Python, where it is something else than an argument there.

    Examples
    --------
    >>> argument("dt"), argument("nan", "zero"), argument("substeps", 4)
    ('dt=', 'nan="zero"', 'substeps=4')
    """
    if _words is not None:
        return _words.argument(name, value)
    if python is not None:
        return python
    return f"{name}=" + ("" if value is None else f'"{value}"' if isinstance(value, str) else f"{value}")


def phrase(key: str, python: str) -> str:
    """Advice that is not the same for all: as it is said in Python, unless others have words for its key."""
    return python if _words is None else _words.phrases.get(key, python)


def speak(words: Words | None) -> None:
    """Say from now on in this process what there are words for in these; None is Python."""
    global _words
    _words = words


@contextmanager
def speaking(words: Words | None) -> Iterator[None]:
    """`speak` in a ``with`` block."""
    before = _words
    speak(words)
    try:
        yield
    finally:
        speak(before)
