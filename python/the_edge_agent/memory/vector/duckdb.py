"""Vector index on DuckDB's built-in array functions; no DuckDB extension is needed."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import failure
from the_edge_agent.memory.vector.base import Result, VectorIndex, VectorSearchConfig

DUCKDB_AVAILABLE = has_package("duckdb")

TABLE = "vector_data"
_METRICS = ("cosine", "l2sq", "ip")
_REMOTE = re.compile(r"(?:https?|s3|gs|gcs|r2)://", re.IGNORECASE)
_PLAIN = (str, int, float)


class DuckDBVSSIndex(VectorIndex):
    """Vectors of a Parquet file in a DuckDB table, searched by cosine similarity. Safe for threads.

    ``dimensions`` is the length of the vectors, ``database`` a DuckDB file or ":memory:", opened at the first
    use. ``enable_httpfs`` allows remote files, for which DuckDB loads its ``httpfs`` extension. Raises
    ``ImportError`` without the duckdb package.
    """

    def __init__(
        self, dimensions: int = 1536, database: str = ":memory:", enable_httpfs: bool = True
    ) -> None:
        if not DUCKDB_AVAILABLE:
            raise ImportError("duckdb not installed. Install with: pip install duckdb")
        if not isinstance(dimensions, int) or dimensions < 1:
            raise ValueError(f"dimensions must be a positive whole number, got {dimensions!r}")
        self._dimensions = dimensions
        self._database = database
        self._enable_httpfs = enable_httpfs
        self._lock = threading.RLock()
        self._conn: Any = None
        self._closed = False
        self._loaded = False
        self._built = False
        self._metric = "cosine"
        self._columns: list[str] = []

    def _connection(self) -> Any:
        if self._closed:
            raise RuntimeError("Index is closed")
        if self._conn is None:
            duckdb: Any = import_module("duckdb")
            self._conn = duckdb.connect(self._database)
        return self._conn

    def load_data(
        self,
        source: str,
        embedding_column: str = "embedding",
        content_column: str = "content",
        id_column: str = "id",
    ) -> Result:
        """Replace the data by those of a Parquet file; rows without an embedding are left out.

        The other columns become the metadata. A failing load keeps the former data.
        """
        if not isinstance(source, str) or not source:
            return failure("Source path or URL is required", "invalid_input")
        if _REMOTE.match(source) and not self._enable_httpfs:
            return failure(f"Remote files are disabled: {source}", "load_failed")
        with self._lock:
            try:
                conn = self._connection()
                described = conn.execute("SELECT * FROM read_parquet(?) LIMIT 0", [source]).description
                columns = [column[0] for column in described]
                for column in (embedding_column, id_column):
                    if column not in columns:
                        return failure(
                            f"{source} has no column '{column}'; it has: {', '.join(columns)}", "load_failed"
                        )
                others = [c for c in columns if c not in (embedding_column, content_column, id_column)]
                content = _quoted(content_column) if content_column in columns else "NULL"
                selected = ", ".join(
                    [
                        f"CAST({_quoted(id_column)} AS VARCHAR) AS id",
                        f"CAST({content} AS VARCHAR) AS content",
                        f"CAST({_quoted(embedding_column)} AS FLOAT[{self._dimensions}]) AS embedding",
                        *(f"{_quoted(c)} AS {_quoted('m_' + c)}" for c in others),
                    ]
                )
                conn.execute(
                    f"CREATE OR REPLACE TABLE {TABLE} AS SELECT {selected} FROM read_parquet(?)"
                    f" WHERE {_quoted(embedding_column)} IS NOT NULL",
                    [source],
                )
                self._columns, self._loaded, self._built = others, True, False
                count = int(conn.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])
            except Exception as error:
                missing = "no files found" in str(error).lower()
                return failure(
                    f"Failed to load {source}: {error}", "parquet_not_found" if missing else "load_failed"
                )
        return {"success": True, "loaded": count, "source": source}

    def build_index(self, metric: str = "cosine") -> Result:
        """Make the data searchable; searches compare with every vector, so they are exact."""
        if metric not in _METRICS:
            return failure(f"Unknown metric '{metric}'; use one of {', '.join(_METRICS)}", "invalid_input")
        with self._lock:
            if not self._loaded:
                return failure("No data loaded. Call load_data() first.", "index_not_built")
            try:
                count = int(self._connection().execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])
            except Exception as error:
                return failure(f"Failed to build the index: {error}", "build_failed")
            self._built, self._metric = True, metric
        return {"success": True, "indexed": count, "metric": metric}

    def search(
        self,
        embedding: Sequence[float],
        top_k: int = 10,
        threshold: float = 0.0,
        filters: dict[str, Any] | None = None,
        config: VectorSearchConfig | None = None,
    ) -> Result:
        """Find the nearest vectors whose similarity is at least ``threshold``.

        ``filters`` ask for equality of columns; a list means any of its values; for a column that holds
        lists, a value must be in the list. A column that does not exist matches nothing. ``config`` overrides
        ``top_k`` and ``threshold``.
        """
        checked = self.validate_embedding(embedding)
        if not checked["valid"]:
            return failure(checked["error"], "invalid_input")
        if config is not None:
            top_k, threshold = min(config.top_k, config.max_results), config.threshold
        with self._lock:
            if not self._loaded:
                return failure("No data loaded. Call load_data() first.", "index_not_built")
            try:
                rows = self._search_rows([float(x) for x in embedding], int(top_k), float(threshold), filters)
            except Exception as error:
                return failure(f"Search failed: {error}", "search_failed")
        with_content = config is None or config.include_content
        with_metadata = config is None or config.include_metadata
        results = [
            {
                "id": row[0],
                "score": float(row[2]),
                "content": row[1] if with_content else None,
                "metadata": dict(zip(self._columns, row[3:], strict=True)) if with_metadata else {},
            }
            for row in rows
        ]
        count = len(results)
        return {"success": True, "results": results, "count": count, "top_k": top_k, "threshold": threshold}

    def _search_rows(
        self, vector: list[float], top_k: int, threshold: float, filters: dict[str, Any] | None
    ) -> list[Any]:
        conditions, parameters = ["score >= ?"], [vector, threshold]
        conn = self._connection()
        types = {row[0]: row[1] for row in conn.execute(f"DESCRIBE {TABLE}").fetchall()}
        for name, wanted in (filters or {}).items():
            column = "m_" + str(name)
            if column not in types:
                return []
            values = list(wanted) if isinstance(wanted, (list, tuple, set)) else [wanted]
            texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
            if types[column].endswith("[]"):
                conditions.append(f"list_has_any(CAST({_quoted(column)} AS VARCHAR[]), CAST(? AS VARCHAR[]))")
                parameters.append(texts)
            else:
                conditions.append(f"list_contains(CAST(? AS VARCHAR[]), CAST({_quoted(column)} AS VARCHAR))")
                parameters.append(texts)
        parameters.append(top_k)
        columns = "".join(f", {_quoted('m_' + c)}" for c in self._columns)
        # A zero vector has no direction: its similarity is 0 here, whatever this DuckDB version makes of it.
        wanted = f"CAST(? AS FLOAT[{self._dimensions}])"
        found: list[Any] = conn.execute(
            f"SELECT id, content, score{columns} FROM (SELECT *, CASE"
            f" WHEN array_inner_product(embedding, embedding) = 0 OR array_inner_product({wanted}, {wanted}) = 0"
            f" THEN 0.0 ELSE array_cosine_similarity(embedding, {wanted}) END AS score FROM {TABLE})"
            f" WHERE {' AND '.join(conditions)} ORDER BY score DESC, id LIMIT ?",
            [vector, vector, *parameters],
        ).fetchall()
        return found

    def get_dimensions(self) -> int:
        """Return the length of the vectors."""
        return self._dimensions

    def get_stats(self) -> Result:
        """Return the number of vectors and the state of the index."""
        with self._lock:
            count = 0
            if self._loaded:
                try:
                    count = int(self._connection().execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])
                except Exception as error:
                    return failure(f"Failed to read the index: {error}", "search_failed")
            return {
                "success": True,
                "vector_count": count,
                "dimensions": self._dimensions,
                "metric": self._metric,
                "index_built": self._built,
                "data_loaded": self._loaded,
                "table_name": TABLE,
            }

    def close(self) -> None:
        """Close the database. Later operations fail."""
        with self._lock:
            self._closed = True
            if self._conn is not None:
                self._conn.close()
                self._conn = None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
