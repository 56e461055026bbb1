"""The package's version, from its metadata: it stands once, in pyproject.toml."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xroute")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
