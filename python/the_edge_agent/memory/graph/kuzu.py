"""Graph store in an embedded Kuzu database."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import CLOSED, Result, failure

KUZU_AVAILABLE = has_package("kuzu")

_SCHEMA = (
    "CREATE NODE TABLE IF NOT EXISTS Entity"
    "(id STRING PRIMARY KEY, type STRING, properties STRING, created_at TIMESTAMP)",
    "CREATE REL TABLE IF NOT EXISTS RELATES_TO"
    "(FROM Entity TO Entity, rel_type STRING, properties STRING, created_at TIMESTAMP)",
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LIMIT = re.compile(r"\blimit\b", re.IGNORECASE)
_RETURN = re.compile(r"\breturn\b", re.IGNORECASE)


def _check_kuzu_available() -> bool:
    """Tell whether the kuzu package is installed."""
    return KUZU_AVAILABLE


class KuzuBackend:
    """Entities and typed relations in Kuzu, queried with Cypher. Safe for threads.

    ``db_path`` is a database file, or ":memory:" for one in a temporary directory that ``close`` removes.
    ``embedding_dim`` is the length that embeddings must have (None: any); they are kept among the properties.
    The cloud keys are for ``load_from_cloud`` and ``save_to_cloud``, which need Kuzu's ``httpfs`` extension
    (``enable_httpfs``); it is loaded, from ``extension_repo`` when given, at their first use. Raises
    ``ImportError`` without kuzu and ``RuntimeError`` when the database cannot be opened.
    """

    def __init__(
        self,
        db_path: str = ":memory:",
        embedding_dim: int | None = None,
        enable_httpfs: bool = True,
        extension_repo: str | None = None,
        s3_access_key: str | None = None,
        s3_secret_key: str | None = None,
        s3_region: str | None = None,
        gcs_access_key: str | None = None,
        gcs_secret_key: str | None = None,
    ) -> None:
        if not KUZU_AVAILABLE:
            raise ImportError("Kuzu (Bighorn) not installed. Install with: pip install kuzu")
        kuzu: Any = import_module("kuzu")
        self.db_path = os.fspath(db_path)
        self.embedding_dim = embedding_dim
        self._extension_repo = extension_repo
        self._cloud_settings = {
            "s3_access_key_id": s3_access_key,
            "s3_secret_access_key": s3_secret_key,
            "s3_region": s3_region,
            "gcs_access_key_id": gcs_access_key,
            "gcs_secret_access_key": gcs_secret_key,
        }
        # None: not tried yet.
        self._httpfs_available: bool | None = None if enable_httpfs else False
        self._lock = threading.RLock()
        self._closed = False
        self._temporary: str | None = None
        path = self.db_path
        if path == ":memory:":
            self._temporary = tempfile.mkdtemp(prefix="tea-kuzu-")
            path = os.path.join(self._temporary, "graph.kuzu")
        try:
            self._db = kuzu.Database(path)
            self._conn = kuzu.Connection(self._db)
            for statement in _SCHEMA:
                self._conn.execute(statement)
        except BaseException:
            self._remove_temporary()
            raise

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _guarded(self, work: Callable[[], Result]) -> Result:
        with self._lock:
            if self._closed:
                return failure(CLOSED, "connection_error")
            try:
                return work()
            except Exception as error:
                return failure(f"Query failed: {error}", "query_error")

    def _run(self, cypher: str, **parameters: Any) -> list[list[Any]]:
        result = self._conn.execute(cypher, parameters)
        rows: list[list[Any]] = result.get_all()
        return rows

    def store_entity(
        self,
        entity_id: str,
        entity_type: str,
        properties: dict[str, Any] | None = None,
        embedding: list[float] | None = None,
    ) -> Result:
        """Insert or replace an entity; ``created`` tells whether it is new."""
        if not entity_id or not entity_type:
            return failure("entity_id and entity_type are required", "validation_error")
        if embedding is not None and self.embedding_dim and len(embedding) != self.embedding_dim:
            return failure(
                f"The embedding has {len(embedding)} numbers, expected {self.embedding_dim}",
                "validation_error",
            )
        kept = dict(properties or {})
        if embedding is not None:
            kept["_embedding"] = list(embedding)
        try:
            text = json.dumps(kept)
        except (TypeError, ValueError) as error:
            return failure(f"Failed to serialize properties: {error}", "serialization_error")

        def work() -> Result:
            name = str(entity_id)
            present = bool(self._run("MATCH (e:Entity {id: $id}) RETURN e.id", id=name))
            values = {"id": name, "type": str(entity_type), "properties": text}
            if present:
                self._run(
                    "MATCH (e:Entity {id: $id}) SET e.type = $type, e.properties = $properties", **values
                )
            else:
                now = datetime.now(timezone.utc).replace(tzinfo=None)
                self._run(
                    "CREATE (:Entity {id: $id, type: $type, properties: $properties, created_at: $now})",
                    now=now,
                    **values,
                )
            return {
                "success": True,
                "entity_id": entity_id,
                "type": entity_type,
                "created": not present,
                "has_embedding": embedding is not None,
            }

        return self._guarded(work)

    def store_relation(
        self,
        from_entity: str,
        to_entity: str,
        relation_type: str,
        properties: dict[str, Any] | None = None,
    ) -> Result:
        """Insert or replace a relation.

        Between entities that do not exist nothing is stored, and the answer is a success all the same.
        """
        if not from_entity or not to_entity or not relation_type:
            return failure("from_entity, to_entity, and relation_type are required", "validation_error")
        try:
            text = json.dumps(properties or {})
        except (TypeError, ValueError) as error:
            return failure(f"Failed to serialize properties: {error}", "serialization_error")

        def work() -> Result:
            ends = {"a": str(from_entity), "b": str(to_entity), "type": str(relation_type)}
            pair = "(a:Entity {id: $a})-[r:RELATES_TO {rel_type: $type}]->(b:Entity {id: $b})"
            present = bool(self._run(f"MATCH {pair} RETURN r.rel_type", **ends))
            if present:
                self._run(f"MATCH {pair} SET r.properties = $properties", properties=text, **ends)
            else:
                now = datetime.now(timezone.utc).replace(tzinfo=None)
                self._run(
                    "MATCH (a:Entity {id: $a}), (b:Entity {id: $b}) CREATE (a)-[:RELATES_TO"
                    " {rel_type: $type, properties: $properties, created_at: $now}]->(b)",
                    properties=text,
                    now=now,
                    **ends,
                )
            return {
                "success": True,
                "from": from_entity,
                "to": to_entity,
                "type": relation_type,
                "created": not present,
            }

        return self._guarded(work)

    def query(
        self,
        cypher: str | None = None,
        datalog: str | None = None,
        pattern: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> Result:
        """Run Cypher, or a pattern: ``{"entity_type": T}``, ``{"from_entity": id}``, or ``{}`` for all
        entities.

        Rows are dictionaries; of a column such as ``e.id`` the name is ``id``. ``params`` are the values of
        the ``$names`` in the text, ``limit`` is added to a text without one, ``timeout`` is in seconds
        (Kuzu looks at the clock between its steps only).
        """
        if datalog and not cypher and pattern is None:
            return failure("Kuzu has no Datalog; use Cypher or a pattern", "validation_error")
        if not cypher and pattern is None:
            return failure("Either cypher or pattern is required", "validation_error")
        if cypher:
            text = cypher.strip().rstrip(";")
            # A parameter that the text lacks is an error for Kuzu.
            values = {k: v for k, v in (params or {}).items() if re.search(rf"\${re.escape(k)}\b", text)}
            if _RETURN.search(text) and not _LIMIT.search(text):
                text = f"{text} LIMIT {int(limit)}"
        else:
            text, values = _pattern_query(pattern or {}, int(limit))

        def work() -> Result:
            if timeout:
                self._conn.set_query_timeout(int(timeout * 1000))
            try:
                result = self._conn.execute(text, values)
            finally:
                if timeout:
                    self._conn.set_query_timeout(0)
            # Several statements have several results; the last one counts.
            last = result[-1] if isinstance(result, list) else result
            names = [str(name).rsplit(".", 1)[-1] for name in last.get_column_names()]
            rows = [dict(zip(names, row, strict=True)) for row in last.get_all()]
            return {"success": True, "results": rows, "count": len(rows), "query": text}

        return self._guarded(work)

    def retrieve_context(
        self,
        query: str | None = None,
        embedding: list[float] | None = None,
        entity_id: str | None = None,
        hops: int = 2,
        limit: int = 20,
    ) -> Result:
        """Collect what is within ``hops`` relations of an entity, in either direction, at most ``limit``
        entities. Kuzu searches neither text nor vectors: those give an empty context that says so."""
        if not query and embedding is None and not entity_id:
            return failure("One of query, embedding, or entity_id is required", "validation_error")
        if not entity_id:
            summary = "No relevant entities found."
            if embedding is not None:
                summary = "Vector search not natively supported by Kuzu; give an entity_id."
            return {"success": True, "entities": [], "relations": [], "context_summary": summary}

        def work() -> Result:
            found = self._neighbourhood(str(entity_id), max(0, int(hops)), int(limit))
            entities = [
                {"id": row[0], "type": row[1], "properties": json.loads(row[2] or "{}")} for row in found
            ]
            names = [row[0] for row in found]
            rows = self._run(
                "MATCH (a:Entity)-[r:RELATES_TO]->(b:Entity) WHERE a.id IN $ids AND b.id IN $ids"
                " RETURN a.id, b.id, r.rel_type, r.properties ORDER BY a.id, b.id, r.rel_type",
                ids=names,
            )
            relations = [
                {"from": row[0], "to": row[1], "type": row[2], "properties": json.loads(row[3] or "{}")}
                for row in rows
            ]
            return {
                "success": True,
                "entities": entities,
                "relations": relations,
                "context_summary": context_summary(entities, relations),
            }

        return self._guarded(work)

    def _neighbourhood(self, start: str, hops: int, limit: int) -> list[list[Any]]:
        """Return ``[id, type, properties]`` of the entity and what is around it, the nearest first."""
        found = self._run("MATCH (e:Entity {id: $id}) RETURN e.id, e.type, e.properties", id=start)
        seen, edge = {row[0] for row in found}, [row[0] for row in found]
        for _ in range(hops):
            if not edge or len(found) >= limit:
                break
            rows = self._run(
                "MATCH (a:Entity)-[:RELATES_TO]-(b:Entity) WHERE a.id IN $ids"
                " RETURN DISTINCT b.id, b.type, b.properties ORDER BY b.id",
                ids=edge,
            )
            fresh = [row for row in rows if row[0] not in seen]
            seen.update(row[0] for row in fresh)
            found += fresh
            edge = [row[0] for row in fresh]
        return found[:limit]

    # Cloud files

    def _ensure_httpfs(self) -> bool:
        if self._httpfs_available is None:
            try:
                source = f" FROM '{_literal(self._extension_repo)}'" if self._extension_repo else ""
                self._conn.execute(f"INSTALL httpfs{source}")
                self._conn.execute("LOAD EXTENSION httpfs")
                for name, value in self._cloud_settings.items():
                    if value:
                        self._conn.execute(f"CALL {name} = '{_literal(value)}'")
                self._httpfs_available = True
            except Exception:
                self._httpfs_available = False
        return self._httpfs_available

    def _refuse_cloud(self) -> Result | None:
        if self._ensure_httpfs():
            return None
        return failure("Kuzu's httpfs extension is not available", "dependency_missing")

    def load_from_cloud(self, uri: str, table_name: str = "Entity") -> Result:
        """Copy a CSV or Parquet file into a table: ``{"success", "uri", "table"}``."""
        if not isinstance(table_name, str) or not _NAME.match(table_name):
            return failure(f"Invalid table name: {table_name!r}", "validation_error")

        def work() -> Result:
            refused = self._refuse_cloud()
            if refused is not None:
                return refused
            self._conn.execute(f"COPY {table_name} FROM '{_literal(uri)}'")
            return {"success": True, "uri": uri, "table": table_name}

        return self._guarded(work)

    def save_to_cloud(self, uri: str, query: str = "MATCH (e:Entity) RETURN e.*") -> Result:
        """Copy the result of a Cypher query into a file: ``{"success", "uri"}``."""
        if uri.startswith(("az://", "azure://", "abfss://")):
            return failure("Azure storage is read-only for Kuzu", "validation_error")

        def work() -> Result:
            refused = self._refuse_cloud()
            if refused is not None:
                return refused
            self._conn.execute(f"COPY ({query}) TO '{_literal(uri)}'")
            return {"success": True, "uri": uri}

        return self._guarded(work)

    def close(self) -> None:
        """Close the database. Later operations answer ``Backend is closed``."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._conn.close()
            self._db.close()
            self._remove_temporary()


BighornBackend = KuzuBackend


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _pattern_query(pattern: dict[str, Any], limit: int) -> tuple[str, dict[str, Any]]:
    entity = "RETURN e.id, e.type, e.properties"
    if pattern.get("entity_type"):
        text, values = (
            f"MATCH (e:Entity) WHERE e.type = $type {entity}",
            {"type": str(pattern["entity_type"])},
        )
    elif pattern.get("from_entity"):
        text = (
            "MATCH (a:Entity {id: $id})-[r:RELATES_TO]->(b:Entity)"
            " RETURN a.id AS from_id, r.rel_type AS rel_type, b.id AS to_id, r.properties AS properties"
        )
        values = {"id": str(pattern["from_entity"])}
    else:
        text, values = f"MATCH (e:Entity) {entity}", {}
    return f"{text} LIMIT {limit}", values


def context_summary(entities: list[dict[str, Any]], relations: Iterable[dict[str, Any]]) -> str:
    """Describe a context in a sentence: how many entities of which types, connected by which relations."""
    if not entities:
        return "No relevant entities found."
    counts = Counter(str(entity["type"]) for entity in entities)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    text = f"Found {len(entities)} entities: {listed}."
    kinds = [str(relation["type"]) for relation in relations]
    if kinds:
        text += f" Connected by {len(kinds)} relations ({', '.join(dict.fromkeys(kinds))})."
    return text
