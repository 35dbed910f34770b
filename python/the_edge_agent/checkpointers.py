"""Checkpoint store in memory."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from typing import Any

__all__ = ["MemoryCheckpointer"]


class MemoryCheckpointer:
    """Keeps checkpoints in this process, by id.

    Values are deep-copied when stored and again when loaded; a value that cannot be copied (a lock, an
    open file) is shared.
    """

    def __init__(self) -> None:
        self._storage: dict[str, dict[str, Any]] = {}

    def save(
        self,
        checkpoint_id: str,
        state: dict[str, Any],
        node: Any,
        config: dict[str, Any] | None = None,
        *,
        interrupt: str | None = None,
    ) -> str:
        """Store a checkpoint and return its id; an existing one of that id is replaced.

        `interrupt` (`"before"` or `"after"`) is kept in the record if given.
        """
        copy = _Copier()
        record: dict[str, Any] = {
            "state": copy.mapping(state),
            "node": node,
            "config": copy.mapping(config) if config else {},
            "timestamp": time.time(),
            "version": "1.0",
        }
        if interrupt is not None:
            record["interrupt"] = interrupt
        self._storage[checkpoint_id] = record
        return checkpoint_id

    def load(self, checkpoint_id: str) -> dict[str, Any]:
        """A copy of the record. Raises `KeyError` for an unknown id."""
        record = self._record(checkpoint_id)
        copy = _Copier()
        return {**record, "state": copy.mapping(record["state"]), "config": copy.mapping(record["config"])}

    def list(self) -> builtins.list[str]:
        """Ids in the order of their first storing."""
        return [*self._storage]

    def delete(self, checkpoint_id: str) -> None:
        """Remove one checkpoint. Raises `KeyError` for an unknown id."""
        self._record(checkpoint_id)
        del self._storage[checkpoint_id]

    def clear(self) -> None:
        """Remove all checkpoints."""
        self._storage.clear()

    def _record(self, checkpoint_id: str) -> dict[str, Any]:
        try:
            return self._storage[checkpoint_id]
        except KeyError:
            raise KeyError(f"Checkpoint not found: {checkpoint_id}") from None

    def __len__(self) -> int:
        return len(self._storage)

    def __contains__(self, checkpoint_id: object) -> bool:
        return checkpoint_id in self._storage

    def __bool__(self) -> bool:
        # An empty store is a store: `compile` asks for its truth value.
        return True


_ATOMS = frozenset({str, int, float, bool, type(None), bytes, complex})


def copy_mapping(source: dict[str, Any]) -> dict[str, Any]:
    """A dict of the same type with deep copies of the values; what cannot be copied is shared."""
    return _Copier().mapping(source)


class _Copier:
    """Deep copy that walks plain dicts and lists itself, so that one uncopyable value is shared alone.

    The memo has the form of `copy.deepcopy`'s: aliases and cycles inside one record stay aliases and cycles.
    """

    def __init__(self) -> None:
        self._memo: dict[int, Any] = {}
        self._deepcopy: Callable[..., Any] | None = None

    def mapping(self, source: dict[str, Any]) -> dict[str, Any]:
        """A dict of the same type and keys in which every value is copied if it can be."""
        target: dict[str, Any] = {}
        if type(source) is dict:
            self._memo[id(source)] = target
        else:
            target = source.copy()
        for key, value in source.items():
            mark = len(self._memo)
            try:
                target[key] = self._copy(value)
            except Exception:  # nested too deeply, or changed by another thread meanwhile
                self._forget(mark)
                target[key] = value
        return target

    def _copy(self, value: Any) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        memo = self._memo
        known = memo.get(id(value), memo)
        if known is not memo:
            return known
        if kind is dict:
            copied: dict[Any, Any] = {}
            memo[id(value)] = copied
            for k, v in value.items():
                copied[k] = v if type(v) in _ATOMS else self._copy(v)
            return copied
        if kind is list:
            items: list[Any] = []
            memo[id(value)] = items
            for v in value:
                items.append(v if type(v) in _ATOMS else self._copy(v))
            return items
        return self._copy_other(value)

    def _copy_other(self, value: Any) -> Any:
        if self._deepcopy is None:
            from copy import deepcopy

            self._deepcopy = deepcopy
        mark = len(self._memo)
        try:
            return self._deepcopy(value, self._memo)
        except Exception:  # a value's own copying code may raise anything
            self._forget(mark)
            return value

    def _forget(self, mark: int) -> None:
        # Half-made copies of a value that failed must not turn up elsewhere.
        while len(self._memo) > mark:
            self._memo.popitem()
