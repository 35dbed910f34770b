"""Cutting files into pieces of text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ChunkStrategy(Enum):
    """What one piece is."""

    LINE = "line"
    PARAGRAPH = "paragraph"
    DOCUMENT = "document"


@dataclass
class Chunk:
    """A piece of a file: lines ``start_line`` (from 0) up to, not including, ``end_line``."""

    text: str
    start_line: int
    end_line: int
    chunk_type: str


@dataclass
class FileState:
    """What tells whether a file changed: ``size`` in bytes, ``mtime`` and ``indexed_at`` in epoch seconds."""

    path: str
    size: int
    mtime: float
    indexed_at: float


def split(text: str, strategy: ChunkStrategy) -> list[Chunk]:
    """Cut a text; blank lines and blank paragraphs give no piece."""
    lines = text.splitlines()
    if strategy is ChunkStrategy.DOCUMENT:
        return [Chunk(text, 0, len(lines), strategy.value)] if text.strip() else []
    if strategy is ChunkStrategy.LINE:
        return [Chunk(line, i, i + 1, strategy.value) for i, line in enumerate(lines) if line.strip()]
    chunks: list[Chunk] = []
    start: int | None = None
    for i, line in enumerate([*lines, ""]):
        if line.strip():
            start = i if start is None else start
        elif start is not None:
            chunks.append(Chunk("\n".join(lines[start:i]), start, i, strategy.value))
            start = None
    return chunks


def looks_binary(data: bytes) -> bool:
    """Tell binary content by its first 8 KiB: a NUL byte, or more than 30 % control bytes."""
    head = data[:8192]
    if b"\0" in head:
        return True
    control = sum(byte < 32 and byte not in (7, 8, 9, 10, 12, 13, 27) for byte in head)
    return bool(head) and control / len(head) > 0.3
