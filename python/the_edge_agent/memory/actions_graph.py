"""The ``graph.*`` actions: thin calls to the engine's graph store, looked up at call time."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import Result, failure
from the_edge_agent.memory.graph import COZO_AVAILABLE, KUZU_AVAILABLE

DUCKPGQ_AVAILABLE = has_package("duckdb")
NEO4J_AVAILABLE = has_package("neo4j")


def _is_graph_available() -> bool:
    """Tell whether any graph library is installed."""
    return bool(COZO_AVAILABLE or KUZU_AVAILABLE or NEO4J_AVAILABLE or DUCKPGQ_AVAILABLE)


def _no_backend() -> Result:
    if not COZO_AVAILABLE and not KUZU_AVAILABLE:
        return failure(
            "No graph library installed. Install with: pip install kuzu, pip install 'pycozo[embedded]',"
            " or pip install neo4j",
            "dependency_missing",
        )
    return failure(
        "Graph backend not configured. Enable with: YAMLEngine(enable_graph=True)", "configuration_error"
    )


def _call(engine: Any, method: str, *arguments: Any, **keywords: Any) -> Result:
    """Call a method of the graph store; stores that lack it answer ``not_supported``."""
    backend = getattr(engine, "_graph_backend", None)
    if backend is None:
        return _no_backend()
    function = getattr(backend, method, None)
    if function is None:
        return failure(f"{type(backend).__name__} does not support {method}", "not_supported")
    result: Result = function(*arguments, **keywords)
    return result


def _missing(text: str) -> Result:
    return failure(text, "validation_error")


def _embedding_of(engine: Any, state: Any, text: Any) -> list[float] | None:
    """Embed a text with the registered action; None when there is none or it fails."""
    registry: Any = getattr(engine, "actions_registry", None)
    create = registry.get("embedding.create") if hasattr(registry, "get") else None
    if create is None:
        return None
    try:
        reply = create(state=state, text=text)
    except Exception:
        return None
    vector = reply.get("embedding") if isinstance(reply, dict) else None
    return vector if isinstance(vector, list) else None


def graph_store_entity(
    state: Any,
    entity_id: Any = None,
    entity_type: Any = None,
    properties: Any = None,
    text: Any = None,
    embed: bool = False,
    embedding: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Insert or replace an entity; with ``embed`` the ``text`` is embedded and kept with it."""
    if entity_id in (None, "") or entity_type in (None, ""):
        return _missing("entity_id and entity_type are required")
    if embed and text and embedding is None:
        embedding = _embedding_of(engine, state, text)
    return _call(
        engine,
        "store_entity",
        entity_id=str(entity_id),
        entity_type=str(entity_type),
        properties=properties,
        embedding=embedding,
    )


def graph_store_relation(
    state: Any,
    from_entity: Any = None,
    to_entity: Any = None,
    relation_type: Any = None,
    properties: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Insert or replace a relation."""
    if not from_entity or not to_entity or not relation_type:
        return _missing("from_entity, to_entity, and relation_type are required")
    return _call(
        engine,
        "store_relation",
        from_entity=str(from_entity),
        to_entity=str(to_entity),
        relation_type=str(relation_type),
        properties=properties,
    )


def graph_query(
    state: Any,
    cypher: Any = None,
    datalog: Any = None,
    pgq: Any = None,
    pattern: Any = None,
    params: Any = None,
    limit: Any = 100,
    timeout: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Run a query in the language of the store, or a pattern."""
    if not cypher and not datalog and not pgq and pattern is None:
        return _missing("One of cypher, datalog, pgq, or pattern is required")
    common = {"pattern": pattern, "params": params, "limit": int(limit or 100), "timeout": timeout}
    backend = getattr(engine, "_graph_backend", None)
    if type(backend).__name__ == "DuckPGQBackend":
        return _call(engine, "query", pgq=pgq or cypher, datalog=datalog, **common)
    return _call(engine, "query", cypher=cypher, datalog=datalog, **common)


def graph_retrieve_context(
    state: Any,
    query: Any = None,
    embedding: Any = None,
    entity_id: Any = None,
    hops: Any = 2,
    limit: Any = 20,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Collect the neighbourhood of an entity, or of what is nearest to a query or an embedding."""
    if not query and embedding is None and entity_id in (None, ""):
        return _missing("One of query, embedding, or entity_id is required")
    if query and embedding is None:
        embedding = _embedding_of(engine, state, query)
    return _call(
        engine,
        "retrieve_context",
        query=query,
        embedding=embedding,
        entity_id=None if entity_id is None else str(entity_id),
        hops=int(hops),
        limit=int(limit),
    )


def graph_delete_entity(
    state: Any, entity_id: Any = None, detach: bool = True, *, engine: Any, **_: Any
) -> Result:
    """Remove an entity, with ``detach`` together with its relations."""
    if entity_id in (None, ""):
        return _missing("entity_id is required")
    return _call(engine, "delete_entity", str(entity_id), detach=detach)


def graph_update_entity(
    state: Any, entity_id: Any = None, properties: Any = None, merge: bool = True, *, engine: Any, **_: Any
) -> Result:
    """Change the properties of an entity."""
    if entity_id in (None, ""):
        return _missing("entity_id is required")
    if properties is None:
        return _missing("properties is required")
    return _call(engine, "update_entity_properties", str(entity_id), properties, merge=merge)


def _relation_call(
    method: str, engine: Any, ends: tuple[Any, Any, Any], *more: Any, **keywords: Any
) -> Result:
    if not all(ends):
        return _missing("from_entity, to_entity, and relation_type are required")
    return _call(engine, method, *(str(end) for end in ends), *more, **keywords)


def graph_delete_relation(
    state: Any,
    from_entity: Any = None,
    to_entity: Any = None,
    relation_type: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Remove a relation."""
    return _relation_call("delete_relation", engine, (from_entity, to_entity, relation_type))


def graph_update_relation(
    state: Any,
    from_entity: Any = None,
    to_entity: Any = None,
    relation_type: Any = None,
    properties: Any = None,
    merge: bool = True,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Change the properties of a relation."""
    ends = (from_entity, to_entity, relation_type)
    if all(ends) and properties is None:
        return _missing("properties is required")
    return _relation_call("update_relation_properties", engine, ends, properties, merge=merge)


def _labels_call(method: str, engine: Any, entity_id: Any, labels: Any) -> Result:
    if entity_id in (None, ""):
        return _missing("entity_id is required")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        return _missing("labels must be a non-empty list of strings")
    return _call(engine, method, str(entity_id), labels)


def graph_add_labels(
    state: Any, entity_id: Any = None, labels: Any = None, *, engine: Any, **_: Any
) -> Result:
    """Add labels to an entity."""
    return _labels_call("add_labels", engine, entity_id, labels)


def graph_remove_labels(
    state: Any, entity_id: Any = None, labels: Any = None, *, engine: Any, **_: Any
) -> Result:
    """Remove labels from an entity."""
    return _labels_call("remove_labels", engine, entity_id, labels)


def _batch_call(method: str, name: str, items: Any, engine: Any, **keywords: Any) -> Result:
    if not items:
        return _missing(f"{name} list is required")
    if not isinstance(items, list):
        return _missing(f"{name} must be a list")
    return _call(engine, method, items, **keywords)


def graph_store_entities_batch(state: Any, entities: Any = None, *, engine: Any, **_: Any) -> Result:
    """Insert or replace many entities."""
    return _batch_call("store_entities_batch", "entities", entities, engine)


def graph_store_relations_batch(state: Any, relations: Any = None, *, engine: Any, **_: Any) -> Result:
    """Insert or replace many relations."""
    return _batch_call("store_relations_batch", "relations", relations, engine)


def graph_delete_entities_batch(
    state: Any, entity_ids: Any = None, detach: bool = True, *, engine: Any, **_: Any
) -> Result:
    """Remove many entities."""
    return _batch_call("delete_entities_batch", "entity_ids", entity_ids, engine, detach=detach)


def graph_merge_entity(
    state: Any,
    entity_id: Any = None,
    entity_type: Any = None,
    on_create: Any = None,
    on_match: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Create an entity, or change the one there is."""
    if entity_id in (None, "") or entity_type in (None, ""):
        return _missing("entity_id and entity_type are required")
    more = {"on_create": on_create, "on_match": on_match}
    return _call(engine, "merge_entity", str(entity_id), str(entity_type), **more)


def graph_merge_relation(
    state: Any,
    from_entity: Any = None,
    to_entity: Any = None,
    relation_type: Any = None,
    on_create: Any = None,
    on_match: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Create a relation, or change the one there is."""
    ends = (from_entity, to_entity, relation_type)
    return _relation_call("merge_relation", engine, ends, on_create=on_create, on_match=on_match)


ACTIONS: dict[str, Callable[..., Result]] = {
    "graph.store_entity": graph_store_entity,
    "graph.store_relation": graph_store_relation,
    "graph.query": graph_query,
    "graph.retrieve_context": graph_retrieve_context,
    "graph.delete_entity": graph_delete_entity,
    "graph.delete_relation": graph_delete_relation,
    "graph.update_entity": graph_update_entity,
    "graph.update_relation": graph_update_relation,
    "graph.add_labels": graph_add_labels,
    "graph.remove_labels": graph_remove_labels,
    "graph.store_entities_batch": graph_store_entities_batch,
    "graph.store_relations_batch": graph_store_relations_batch,
    "graph.delete_entities_batch": graph_delete_entities_batch,
    "graph.merge_entity": graph_merge_entity,
    "graph.merge_relation": graph_merge_relation,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add every action under its dotted name and its ``actions.`` alias; both are one object."""
    for name, function in ACTIONS.items():
        bound = partial(function, engine=engine)
        registry[name] = bound
        registry["actions." + name.replace(".", "_")] = bound
