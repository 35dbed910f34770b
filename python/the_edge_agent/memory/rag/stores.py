"""Where vectors are kept and searched."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any, ClassVar

from the_edge_agent.memory._availability import has_package

logger = logging.getLogger(__name__)

Vector = list[float]
Row = dict[str, Any]


def _numpy() -> Any:
    return import_module("numpy") if has_package("numpy") else None


def cosine_similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors, 0.0 when one of them is zero."""
    return cosine_similarity_batch(a, [b])[0]


def cosine_similarity_batch(query: Sequence[float], vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return the cosine similarity of ``query`` to each vector."""
    if not vectors:
        return []
    np = _numpy()
    if np is None:
        return [_cosine(query, vector) for vector in vectors]
    matrix, wanted = np.asarray(vectors, dtype=float), np.asarray(query, dtype=float)
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
    products = matrix @ wanted
    scores: list[float] = np.divide(
        products, lengths, out=np.zeros_like(products), where=lengths > 0
    ).tolist()
    return scores


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0


_SUFFIXES = ("_gte", "_lte", "_gt", "_lt", "_ne", "_in")


def metadata_passes(metadata: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    """Tell whether metadata meets all conditions.

    A plain key asks for equality; the endings ``_gte``, ``_lte``, ``_gt``, ``_lt``, ``_ne`` and ``_in``
    compare the field before them. A missing field meets only ``_ne``; values without an order meet no
    comparison.
    """
    return all(_passes(metadata, name, value) for name, value in (wanted or {}).items())


def _passes(metadata: dict[str, Any], name: str, wanted: Any) -> bool:
    if name in metadata:  # also a field whose own name ends like an operator
        return bool(metadata[name] == wanted)
    suffix = next((ending for ending in _SUFFIXES if name.endswith(ending)), None)
    field = name[: -len(suffix)] if suffix else name
    if field not in metadata:
        return suffix == "_ne"
    value = metadata[field]
    try:
        if suffix == "_gte":
            return bool(value >= wanted)
        if suffix == "_lte":
            return bool(value <= wanted)
        if suffix == "_gt":
            return bool(value > wanted)
        if suffix == "_lt":
            return bool(value < wanted)
        if suffix == "_in":
            return value in wanted
    except TypeError:
        return False
    return bool(value != wanted) if suffix == "_ne" else bool(value == wanted)


class VectorStore(ABC):
    """Texts with their vectors and metadata in named collections."""

    @abstractmethod
    def add(
        self,
        ids: list[str],
        texts: list[str],
        embeddings: list[Vector],
        metadatas: list[dict[str, Any]] | None = None,
        collection: str = "default",
    ) -> int:
        """Store rows, replacing those with the same id; return how many were given.

        Raises ``ValueError`` when the vectors differ in length from each other or from the stored ones.
        """

    @abstractmethod
    def query(
        self,
        embedding: Vector,
        k: int = 5,
        collection: str = "default",
        filter: dict[str, Any] | None = None,
        include_embeddings: bool = False,
    ) -> list[Row]:
        """Return the ``k`` nearest rows that pass the filter: ``{"id", "text", "score", "metadata"}``.

        ``score`` is the cosine similarity; ``embedding`` is added on request. An unknown collection is empty.
        """

    @abstractmethod
    def get_state(self) -> dict[str, Any]:
        """Return what ``restore_state`` needs."""

    @abstractmethod
    def restore_state(self, state: dict[str, Any]) -> None:
        """Take over a state of ``get_state``."""


class InMemoryVectorStore(VectorStore):
    """Vectors in this process. Safe for threads."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[str, Row]] = {}
        self._lock = threading.RLock()

    def add(
        self,
        ids: list[str],
        texts: list[str],
        embeddings: list[Vector],
        metadatas: list[dict[str, Any]] | None = None,
        collection: str = "default",
    ) -> int:
        """Store rows; see ``VectorStore.add``."""
        rows = _rows(ids, texts, embeddings, metadatas)
        with self._lock:
            present = self._collections.get(collection, {})
            lengths = {len(row["embedding"]) for row in (*rows, *list(present.values())[:1])}
            if len(lengths) > 1:
                raise ValueError(
                    f"Embedding dimension mismatch: {' and '.join(map(str, sorted(lengths)))} numbers in"
                    f" collection '{collection}'"
                )
            self._collections.setdefault(collection, {}).update((row["id"], row) for row in rows)
        return len(rows)

    def query(
        self,
        embedding: Vector,
        k: int = 5,
        collection: str = "default",
        filter: dict[str, Any] | None = None,
        include_embeddings: bool = False,
    ) -> list[Row]:
        """Return the nearest rows; see ``VectorStore.query``."""
        with self._lock:
            rows = [
                row
                for row in self._collections.get(collection, {}).values()
                if metadata_passes(row["metadata"], filter)
            ]
        if rows and len(rows[0]["embedding"]) != len(embedding):
            raise ValueError(
                f"Embedding dimension mismatch: the query has {len(embedding)} numbers, collection"
                f" '{collection}' has {len(rows[0]['embedding'])}"
            )
        scores = cosine_similarity_batch(embedding, [row["embedding"] for row in rows])
        best = sorted(range(len(rows)), key=lambda i: -scores[i])[:k]
        return [_result(rows[i], scores[i], include_embeddings) for i in best]

    def get_state(self) -> dict[str, Any]:
        """Return ``{"collections": ...}``, the stored objects themselves."""
        return {"collections": self._collections}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Replace the content."""
        with self._lock:
            self._collections = state.get("collections", {})


def _rows(
    ids: list[str],
    texts: list[str],
    embeddings: list[Vector],
    metadatas: list[dict[str, Any]] | None,
) -> list[Row]:
    metadatas = metadatas if metadatas is not None else [{} for _ in ids]
    if not len(ids) == len(texts) == len(embeddings) == len(metadatas):
        raise ValueError(
            f"{len(ids)} ids, {len(texts)} texts, {len(embeddings)} embeddings and {len(metadatas)} metadata"
            " objects; the numbers must be equal"
        )
    pairs = zip(ids, texts, embeddings, metadatas, strict=True)
    return [
        {"id": i, "text": text, "embedding": [float(x) for x in vector], "metadata": metadata or {}}
        for i, text, vector, metadata in pairs
    ]


def _result(row: Row, score: float, include_embedding: bool) -> Row:
    result = {"id": row["id"], "text": row["text"], "score": score, "metadata": row["metadata"]}
    if include_embedding:
        result["embedding"] = row["embedding"]
    return result


class LanceDBVectorStore(VectorStore):
    """Vectors in a LanceDB directory (``~`` is expanded), one table for each collection.

    An approximate index is made once a table has ``INDEX_THRESHOLD`` rows. Raises ``ImportError`` without
    lancedb.
    """

    INDEX_THRESHOLD = 256

    def __init__(self, path: str = "~/.tea/vectors/") -> None:
        try:
            lancedb: Any = import_module("lancedb")
        except ImportError as error:
            raise ImportError("lancedb not installed. Install with: pip install lancedb pyarrow") from error
        self._path = os.path.expanduser(path)
        self._db = lancedb.connect(self._path)
        self._lock = threading.RLock()

    def _names(self) -> list[str]:
        names: list[str] = []
        page = None
        while True:
            # One answer holds at most ``limit`` names.
            found = list(self._db.table_names(page_token=page, limit=1000))
            names += found
            if len(found) < 1000:
                return names
            page = found[-1]

    def add(
        self,
        ids: list[str],
        texts: list[str],
        embeddings: list[Vector],
        metadatas: list[dict[str, Any]] | None = None,
        collection: str = "default",
    ) -> int:
        """Store rows; see ``VectorStore.add``."""
        # The last of several rows with one id wins, as everywhere.
        unique = {row["id"]: row for row in _rows(ids, texts, embeddings, metadatas)}
        data = [
            {
                "id": row["id"],
                "text": row["text"],
                "vector": row["embedding"],
                "metadata": json.dumps(row["metadata"], default=str),
            }
            for row in unique.values()
        ]
        if not data:
            return 0
        with self._lock:
            if collection in self._names():
                table = self._db.open_table(collection)
                quoted = ", ".join("'" + str(row["id"]).replace("'", "''") + "'" for row in data)
                table.delete(f"id IN ({quoted})")
                table.add(data)
            else:
                table = self._db.create_table(collection, data)
            if table.count_rows() >= self.INDEX_THRESHOLD and not self._has_index(table):
                self._make_index(table)
        return len(ids)

    @staticmethod
    def _make_index(table: Any) -> None:
        try:
            table.create_index(metric="cosine")
        except Exception as error:
            # The rows are stored and a search without the index finds them all, only slower.
            logger.warning("LanceDB could not make a vector index: %s", error)

    @staticmethod
    def _has_index(table: Any) -> bool:
        listed = table.list_indices()
        return isinstance(listed, (list, tuple)) and len(listed) > 0

    def query(
        self,
        embedding: Vector,
        k: int = 5,
        collection: str = "default",
        filter: dict[str, Any] | None = None,
        include_embeddings: bool = False,
    ) -> list[Row]:
        """Return the nearest rows; see ``VectorStore.query``."""
        if collection not in self._names():
            return []
        table = self._db.open_table(collection)
        if not any(embedding):
            # A zero vector has no direction, so no distance: take the rows as they are, with score 0.
            found = table.search().limit(max(k, table.count_rows())).to_list()
        elif filter:
            # LanceDB cannot look into the metadata's JSON text: fetch all rows by distance and filter here.
            total = table.count_rows()
            wanted = max(k, total) if isinstance(total, int) else k
            search = table.search(embedding).metric("cosine").limit(wanted).where("id IS NOT NULL")
            search.bypass_vector_index()  # an approximate index would leave rows out
            found = search.to_list()
        else:
            found = table.search(embedding).metric("cosine").limit(k).to_list()
        results: list[Row] = []
        for row in found:
            metadata = json.loads(row["metadata"]) if row.get("metadata") else {}
            if not metadata_passes(metadata, filter):
                continue
            plain = {"id": row["id"], "text": row["text"], "metadata": metadata}
            if include_embeddings:
                plain["embedding"] = [float(number) for number in row["vector"]]
            distance = row.get("_distance")
            score = 0.0 if distance is None else 1 - distance
            results.append(_result(plain, score, include_embeddings))
            if len(results) == k:
                break
        return results

    def get_state(self) -> dict[str, Any]:
        """Return ``{"type": "lancedb", "path", "collections": [names]}``; the data stay in the directory."""
        return {"type": "lancedb", "path": self._path, "collections": self._names()}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Do nothing: the data are in the directory."""


class ChromaVectorStore(VectorStore):
    """Vectors in Chroma, in memory or in ``persist_directory``. Raises ``ImportError`` without chromadb."""

    _OPERATORS: ClassVar[dict[str, str]] = {
        "_gte": "$gte",
        "_lte": "$lte",
        "_gt": "$gt",
        "_lt": "$lt",
        "_ne": "$ne",
        "_in": "$in",
    }

    def __init__(self, persist_directory: str | None = None) -> None:
        try:
            chromadb: Any = import_module("chromadb")
        except ImportError as error:
            raise ImportError("Chroma not installed. Install with: pip install chromadb") from error
        if persist_directory:
            self._client = chromadb.PersistentClient(path=os.path.expanduser(persist_directory))
        else:
            self._client = chromadb.EphemeralClient()

    def _collection(self, name: str) -> Any:
        return self._client.get_or_create_collection(name, metadata={"hnsw:space": "cosine"})

    def add(
        self,
        ids: list[str],
        texts: list[str],
        embeddings: list[Vector],
        metadatas: list[dict[str, Any]] | None = None,
        collection: str = "default",
    ) -> int:
        """Store rows; see ``VectorStore.add``."""
        arguments: dict[str, Any] = {"ids": ids, "documents": texts, "embeddings": embeddings}
        if metadatas is not None and any(metadatas):
            # Chroma refuses empty metadata objects.
            arguments["metadatas"] = [metadata or None for metadata in metadatas]
        self._collection(collection).upsert(**arguments)
        return len(ids)

    def query(
        self,
        embedding: Vector,
        k: int = 5,
        collection: str = "default",
        filter: dict[str, Any] | None = None,
        include_embeddings: bool = False,
    ) -> list[Row]:
        """Return the nearest rows; see ``VectorStore.query``."""
        include = ["documents", "metadatas", "distances"] + (["embeddings"] if include_embeddings else [])
        arguments: dict[str, Any] = {"query_embeddings": [embedding], "n_results": k, "include": include}
        if filter:
            conditions = [self._condition(name, value) for name, value in filter.items()]
            arguments["where"] = conditions[0] if len(conditions) == 1 else {"$and": conditions}
        found = self._collection(collection).query(**arguments)
        results = []
        for i, row_id in enumerate(found["ids"][0]):
            row = {
                "id": row_id,
                "text": found["documents"][0][i],
                "metadata": found["metadatas"][0][i] or {},
            }
            if include_embeddings:
                row["embedding"] = [float(number) for number in found["embeddings"][0][i]]
            results.append(_result(row, 1 - found["distances"][0][i], include_embeddings))
        return results

    def _condition(self, name: str, value: Any) -> dict[str, Any]:
        for ending, operator in self._OPERATORS.items():
            if name.endswith(ending):
                return {name[: -len(ending)]: {operator: value}}
        return {name: {"$eq": value}}

    def get_state(self) -> dict[str, Any]:
        """Return ``{"type": "chroma", "collections": [names]}``."""
        names = [getattr(item, "name", item) for item in self._client.list_collections()]
        return {"type": "chroma", "collections": names}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Do nothing: the data are in Chroma."""


def create_vector_store(
    store_type: str = "memory", chroma_path: str | None = None, lancedb_path: str | None = None
) -> VectorStore:
    """Create a store: ``memory``, ``chroma`` or ``lancedb``. Raises ``ValueError`` for another name."""
    if store_type == "memory":
        return InMemoryVectorStore()
    if store_type == "chroma":
        return ChromaVectorStore(chroma_path)
    if store_type == "lancedb":
        return LanceDBVectorStore(lancedb_path or "~/.tea/vectors/")
    raise ValueError(f"Unknown vector store type: {store_type}")
