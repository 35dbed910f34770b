"""What an engine asks of a graph store."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

Result = dict[str, Any]


@runtime_checkable
class GraphBackend(Protocol):
    """Entities and typed relations with text-free result dictionaries (``success`` or ``error_type``)."""

    def store_entity(
        self,
        entity_id: str,
        entity_type: str,
        properties: dict[str, Any] | None = None,
        embedding: list[float] | None = None,
    ) -> Result:
        """Insert or replace: ``{"success", "entity_id", "type", "created", "has_embedding"}``."""

    def store_relation(
        self,
        from_entity: str,
        to_entity: str,
        relation_type: str,
        properties: dict[str, Any] | None = None,
    ) -> Result:
        """Insert or replace: ``{"success", "from", "to", "type", "created"}``."""

    def query(
        self,
        *,
        pattern: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Result:
        """Run a query: ``{"success", "results": [dict], "count", "query"}``. Backends add their languages."""

    def retrieve_context(
        self,
        query: str | None = None,
        embedding: list[float] | None = None,
        entity_id: str | None = None,
        hops: int = 2,
        limit: int = 20,
    ) -> Result:
        """Collect a neighbourhood: ``{"success", "entities", "relations", "context_summary"}``."""

    def close(self) -> None:
        """Release the database. May be called more than once."""
