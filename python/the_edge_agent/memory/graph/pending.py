"""Name of a graph store that is not implemented yet: importable, refused when constructed."""

from __future__ import annotations

from typing import Any, NoReturn

# False whatever is installed, so that no engine tries to build the class below.
COZO_AVAILABLE = False


def _check_cozo_available() -> bool:
    """Tell whether the Cozo store can be used."""
    return COZO_AVAILABLE


class CozoBackend:
    """Reserved name; constructing it raises ``NotImplementedError``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("The Cozo graph backend is not implemented in this version")
