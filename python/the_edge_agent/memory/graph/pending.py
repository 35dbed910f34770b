"""Names of graph stores that are not implemented yet: importable, refused when constructed."""

from __future__ import annotations

from typing import Any, NoReturn


class _NotImplementedBackend:
    """Base of the names below."""

    product = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"The {cls.product} graph backend is not implemented in this version")


class KuzuBackend(_NotImplementedBackend):
    """Reserved name; constructing it raises ``NotImplementedError``."""

    product = "Kuzu"


BighornBackend = KuzuBackend


class CozoBackend(_NotImplementedBackend):
    """Reserved name; constructing it raises ``NotImplementedError``."""

    product = "Cozo"


# False whatever is installed, so that no engine tries to build one of the classes above.
KUZU_AVAILABLE = False
COZO_AVAILABLE = False
