"""`YAMLEngine`: agents described in YAML. Its engine arrives with the next release."""

from __future__ import annotations

from typing import Any

__all__ = ["YAMLEngine"]


class YAMLEngine:
    """Not available yet: making one raises NotImplementedError."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError(
            "YAMLEngine is not part of this release yet; build the agent with StateGraph"
        )
