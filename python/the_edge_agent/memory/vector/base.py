"""What the vector actions ask of a vector index."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Result = dict[str, Any]
Index = TypeVar("Index", bound="VectorIndex")


@dataclass
class VectorSearchConfig:
    """Settings of one search; ``threshold`` is the least similarity."""

    top_k: int = 10
    threshold: float = 0.0
    max_results: int = 100
    embedding_dimensions: int = 1536
    include_metadata: bool = True
    include_content: bool = True


@dataclass
class SearchResult:
    """One hit; ``score`` is the cosine similarity."""

    id: str
    score: float
    content: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class VectorIndex(ABC):
    """Nearest neighbours in a loaded data set. Operations answer result dictionaries."""

    @abstractmethod
    def search(
        self,
        embedding: Sequence[float],
        top_k: int = 10,
        threshold: float = 0.0,
        filters: dict[str, Any] | None = None,
        config: VectorSearchConfig | None = None,
    ) -> Result:
        """Find the nearest: ``{"success", "results": [{"id", "score", "content", "metadata"}], "count"}``."""

    @abstractmethod
    def load_data(
        self,
        source: str,
        embedding_column: str = "embedding",
        content_column: str = "content",
        id_column: str = "id",
    ) -> Result:
        """Load a Parquet file: ``{"success", "loaded": rows, "source"}``."""

    @abstractmethod
    def build_index(self, metric: str = "cosine") -> Result:
        """Prepare searches: ``{"success", "indexed": rows, "metric"}``."""

    @abstractmethod
    def get_dimensions(self) -> int:
        """Return the length of the vectors."""

    @abstractmethod
    def get_stats(self) -> Result:
        """Return the number of vectors and the state of the index."""

    @abstractmethod
    def close(self) -> None:
        """Release the index. May be called more than once."""

    def search_batch(self, embeddings: Sequence[Sequence[float]], **arguments: Any) -> Result:
        """Search several, up to the first failure.

        ``{"success", "results": [[...]], "count", "query_count"}``
        """
        results: list[list[Any]] = []
        for embedding in embeddings:
            found = self.search(embedding, **arguments)
            if not found.get("success"):
                return found
            results.append(found["results"])
        count = sum(len(rows) for rows in results)
        return {"success": True, "results": results, "count": count, "query_count": len(results)}

    def refresh_index(self) -> Result:
        """Build the index again."""
        return self.build_index()

    def validate_embedding(self, embedding: Any) -> Result:
        """Check a vector: ``{"valid": True}`` or ``{"valid": False, "error"}``."""
        if not isinstance(embedding, (list, tuple)) or not embedding:
            return {"valid": False, "error": "Embedding must be a non-empty list of numbers"}
        expected = self.get_dimensions()
        if len(embedding) != expected:
            return {
                "valid": False,
                "error": f"Embedding has {len(embedding)} dimensions, expected {expected}",
            }
        for number in embedding:
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
                return {
                    "valid": False,
                    "error": f"Embedding must contain finite numbers only, got {number!r}",
                }
        return {"valid": True}

    def __enter__(self: Index) -> Index:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False
