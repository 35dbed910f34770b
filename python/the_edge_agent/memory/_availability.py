"""Which optional third-party packages are installed, found without importing them.

The answers come from the import path alone and are kept for the life of the process: a module that somebody
puts into ``sys.modules`` later does not change them.
"""

from __future__ import annotations

from importlib.machinery import PathFinder

_found: dict[str, bool] = {}


def has_package(name: str) -> bool:
    """Tell whether the top-level package ``name`` is on the import path (nothing is imported)."""
    known = _found.get(name)
    if known is None:
        try:
            known = PathFinder.find_spec(name) is not None
        except (ImportError, ValueError):
            known = False
        _found[name] = known
    return known


def has_packages(*names: str) -> bool:
    """Tell whether every one of the top-level packages is on the import path."""
    return all(has_package(name) for name in names)
