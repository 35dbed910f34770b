"""What the catalog and cloud-memory actions ask of a document store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

Result = dict[str, Any]
Filter = tuple[str, str, Any]
Store = TypeVar("Store", bound="MetadataStore")

OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "in", "not-in", "array-contains", "array-contains-any")


class OrderDirection(Enum):
    """Direction of a sort."""

    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass
class MetadataQuery:
    """A query over one collection; ``filters`` are ``(field, operator, value)`` joined with AND."""

    collection: str
    filters: list[Filter] = field(default_factory=list)
    order_by: list[tuple[str, OrderDirection]] = field(default_factory=list)
    limit: int = 100
    offset: int = 0
    select_fields: list[str] | None = None

    def where(self, field_name: str, op: str, value: Any) -> MetadataQuery:
        """Add a filter; returns the query. Raises ``ValueError`` for an unknown operator."""
        if op not in OPERATORS:
            raise ValueError(f"Unknown operator {op!r}; use one of {', '.join(OPERATORS)}")
        self.filters.append((field_name, op, value))
        return self

    def order(self, field_name: str, direction: OrderDirection = OrderDirection.ASCENDING) -> MetadataQuery:
        """Add a sort key; returns the query."""
        self.order_by.append((field_name, direction))
        return self

    def set_limit(self, limit: int) -> MetadataQuery:
        """Set the most documents returned; returns the query."""
        self.limit = limit
        return self


class MetadataStore(ABC):
    """Documents (JSON objects) in named collections. Operations answer result dictionaries.

    A dot in a field name of an update, a filter or a sort reaches into nested objects.
    """

    @abstractmethod
    def set_document(
        self, collection: str, doc_id: str, data: dict[str, Any], merge: bool = False, transaction: Any = None
    ) -> Result:
        """Write a document, or merge into it: ``{"success", "doc_id", "collection", "created"}``."""

    @abstractmethod
    def get_document(self, collection: str, doc_id: str) -> Result:
        """Read a document: ``{"success": True, "exists": bool, "data": dict | None, "doc_id"}``."""

    @abstractmethod
    def update_document(
        self, collection: str, doc_id: str, data: dict[str, Any], transaction: Any = None
    ) -> Result:
        """Change fields: ``{"success", "doc_id", "updated": True}``, or ``not_found``."""

    @abstractmethod
    def delete_document(self, collection: str, doc_id: str, transaction: Any = None) -> Result:
        """Remove a document: ``{"success", "doc_id", "deleted": bool}``."""

    @abstractmethod
    def document_exists(self, collection: str, doc_id: str) -> Result:
        """Look for a document: ``{"success", "exists": bool, "doc_id"}``."""

    @abstractmethod
    def query(self, query_spec: MetadataQuery) -> Result:
        """Find documents: ``{"success", "results": [{"doc_id", "data"}], "count"}``."""

    @abstractmethod
    def begin_transaction(self) -> Any:
        """Return a transaction object for the ``transaction`` arguments."""

    @abstractmethod
    def commit_transaction(self, transaction: Any) -> Result:
        """Apply a transaction: all of its writes or none."""

    @abstractmethod
    def run_transaction(self, callback: Callable[[Any], Any]) -> Any:
        """Call ``callback(transaction)``, commit, and return what the callback returned."""

    @abstractmethod
    def server_timestamp(self) -> Any:
        """Return a value that becomes the time of the write."""

    @abstractmethod
    def delete_field(self) -> Any:
        """Return a value that removes its field in an update."""

    @abstractmethod
    def increment(self, value: float = 1) -> Any:
        """Return a value that adds to a number."""

    @abstractmethod
    def array_union(self, elements: list[Any]) -> Any:
        """Return a value that adds the elements an array lacks."""

    @abstractmethod
    def array_remove(self, elements: list[Any]) -> Any:
        """Return a value that removes elements from an array."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. May be called more than once."""

    def query_collection(
        self,
        collection: str,
        filters: Sequence[Filter] | None = None,
        order_by: Sequence[tuple[str, OrderDirection]] | None = None,
        limit: int = 100,
    ) -> Result:
        """Run ``query`` with the parts given as arguments."""
        return self.query(MetadataQuery(collection, list(filters or ()), list(order_by or ()), limit))

    def batch_set(self, documents: Sequence[tuple[str, str, dict[str, Any]]]) -> Result:
        """Write ``(collection, id, data)`` one after the other, up to the first failure."""
        return self._batch([lambda d=d: self.set_document(*d) for d in documents])  # type: ignore[misc]

    def batch_delete(self, documents: Sequence[tuple[str, str]]) -> Result:
        """Remove ``(collection, id)`` one after the other, up to the first failure."""
        return self._batch([lambda d=d: self.delete_document(*d) for d in documents])  # type: ignore[misc]

    @staticmethod
    def _batch(calls: list[Callable[[], Result]]) -> Result:
        results: list[Result] = []
        for call in calls:
            result = call()
            if not result.get("success"):
                return {**result, "success": False, "partial_results": results}
            results.append(result)
        return {"success": True, "results": results, "count": len(results)}

    def __enter__(self: Store) -> Store:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False
