"""How the actions talk to a document store, in either of the styles that stores have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from the_edge_agent.memory._results import Result, failure
from the_edge_agent.memory.metadata.base import Filter, MetadataQuery


class StoreFailure(Exception):
    """A store answered a failure, which the action passes on."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result.get("error")))
        self.result = result


def from_state(name: str, state: Any, keywords: dict[str, Any]) -> Any:
    """Find an object in the keywords, in ``state["_<name>"]`` or in ``state["<name>"]``."""
    places: list[Any] = [keywords.get(name)]
    if isinstance(state, dict):
        places += [state.get(f"_{name}"), state.get(name)]
    return next((place for place in places if place is not None), None)


def read(store: Any, collection: str, doc_id: str) -> dict[str, Any] | None:
    """Return a document or None. Raises ``StoreFailure``."""
    result = store.get_document(collection, doc_id)
    if not result.get("success"):
        if result.get("error_type") == "not_found":
            return None
        raise StoreFailure(result)
    if result.get("exists") is False:
        return None
    data: dict[str, Any] | None = result.get("data")
    return data


def find(store: Any, collection: str, filters: list[Filter], limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Return ``(id, document)`` of the matches. Raises ``StoreFailure``."""
    result = store.query(MetadataQuery(collection, list(filters), limit=limit))
    if not result.get("success"):
        raise StoreFailure(result)
    rows = result.get("documents")
    rows = result.get("results", []) if rows is None else rows
    found = []
    for row in rows:
        data = row.get("data")
        if not isinstance(data, dict):
            data = {key: value for key, value in row.items() if key not in ("id", "doc_id")}
        found.append((str(row.get("doc_id", row.get("id"))), data))
    return found


def write_all(store: Any, writes: list[tuple[str, str, dict[str, Any]]]) -> None:
    """Write ``(collection, id, document)`` in one transaction. Raises ``StoreFailure``.

    Some stores hand the callback a list for operation dictionaries, others an object with methods.
    """

    def queue(transaction: Any) -> None:
        for collection, doc_id, data in writes:
            if hasattr(transaction, "append"):
                operation = {"collection": collection, "doc_id": doc_id, "id": doc_id, "data": data}
                transaction.append({**operation, "operation": "set", "type": "set", "op": "set"})
            else:
                store.set_document(collection, doc_id, data, transaction=transaction)

    result = store.run_transaction(queue)
    if isinstance(result, dict) and not result.get("success", True):
        raise StoreFailure(result)
    for collection, doc_id, data in writes:
        if read(store, collection, doc_id) is None:
            # The store has another idea of an operation dictionary; write without the transaction.
            written = store.set_document(collection, doc_id, data)
            if not written.get("success"):
                raise StoreFailure(written)


def answering(work: Callable[[], Result]) -> Result:
    """Run an action's work; a store's failure is its answer."""
    try:
        return work()
    except StoreFailure as error:
        return failure(str(error), str(error.result.get("error_type") or "query_error"))
