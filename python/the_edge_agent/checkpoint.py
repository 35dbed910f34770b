"""Checkpoints of a `StateGraph`: saving at interrupts, loading, resuming."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    import os
    from collections.abc import Generator

    from ._native.structure import Structure

    Event = dict[str, Any]

__all__ = ["CheckpointMixin"]


class CheckpointMixin:
    """Methods of `StateGraph` around checkpoints.

    A checkpoint is a dict of `state`, `node`, `config`, `timestamp` (seconds since 1970) and `version`; if the node
    is interrupted both before and after, `interrupt` says which of the two it was.
    """

    if TYPE_CHECKING:
        _structure: Structure
        _checkpoint_format: str
        _interrupt_kinds: dict[Any, str]
        _issued_ids: tuple[int, set[str]]
        checkpointer: Any
        checkpoint_dir: Any
        interrupt_before: Any
        interrupt_after: Any
        raise_exceptions: bool
        logger: logging.Logger

        def _run(
            self, stream: bool, state: Any, config: Any, node: Any = None, interrupt: str | None = None
        ) -> Generator[Event, None, None]: ...

    def save_checkpoint(
        self,
        file_path: str | os.PathLike[str],
        state: dict[str, Any],
        node: Any,
        config: dict[str, Any] | None,
    ) -> None:
        """Writes a checkpoint file, complete or not at all; an existing file is replaced.

        Raises ValueError for an unknown node. What the file system or pickling refuses is logged and, with
        `raise_exceptions`, raised as RuntimeError; other failures of pickling come out unchanged. The error names
        path and type of a value that cannot be stored.
        """
        if node not in self._structure.nodes:
            raise ValueError(f"Node '{node}' does not exist in the graph.")
        self._write_checkpoint(file_path, self._record(state, node, config))

    def _record(self, state: Any, node: Any, config: Any, when: str | None = None) -> dict[str, Any]:
        record = {
            "state": state.copy(),
            "node": node,
            "config": config.copy() if config else {},
            "timestamp": time.time(),
            "version": "1.0",
        }
        # The JSON format always says it; a pickle only where it matters, so that the reference reads it as its own.
        ambiguous = node in self.interrupt_before and node in self.interrupt_after
        if when is not None and (ambiguous or self._checkpoint_format == "json"):
            record["interrupt"] = when
        return record

    def _write_checkpoint(self, path: Any, record: dict[str, Any]) -> bool:
        """Whether the file was written."""
        import pickle

        from . import checkpoint_files

        try:
            if self._checkpoint_format == "json":
                from ._native.checkpoint import encode

                checkpoint_files.atomic_write(path, encode(record))
            else:
                checkpoint_files.write_checkpoint(path, record)
        except (OSError, pickle.PicklingError) as error:
            message = f"Failed to save checkpoint to '{path}': {error}"
            self.logger.error(message)
            if self.raise_exceptions:
                raise RuntimeError(message) from error
            return False
        self.logger.info(f"Checkpoint saved to '{path}' at node '{record['node']}'")
        return True

    def _auto_save_checkpoint(self, state: Any, node: Any, config: Any, when: str | None = None) -> Any:
        """Saves at an interrupt: the id or path of the checkpoint, or None if there is no storage or writing failed."""
        milliseconds = int(time.time() * 1000)
        ambiguous = node in self.interrupt_before and node in self.interrupt_after
        if self.checkpointer is not None:
            from .checkpointers import MemoryCheckpointer

            key = self._new_id(node, milliseconds)
            if ambiguous and when and isinstance(self.checkpointer, MemoryCheckpointer):
                self.checkpointer.save(key, state, node, config, interrupt=when)
            else:
                self.checkpointer.save(key, state, node, config)
                if ambiguous and when:
                    self._interrupt_kinds[key] = when
            self.logger.info(f"Checkpoint saved to memory: '{key}'")
            return key
        if self.checkpoint_dir is None:
            return None
        from .checkpoint_files import unique_path

        suffix = ".json" if self._checkpoint_format == "json" else ".pkl"
        path = unique_path(self.checkpoint_dir, node, milliseconds, suffix)
        return path if self._write_checkpoint(path, self._record(state, node, config, when)) else None

    def _new_id(self, node: Any, milliseconds: int) -> str:
        """An id that neither the checkpointer nor this graph has used in this millisecond."""
        stem = f"{node}_{milliseconds}"
        issued = self._issued_ids
        if issued[0] != milliseconds:
            issued = self._issued_ids = (milliseconds, set())
        looks_up = hasattr(type(self.checkpointer), "__contains__")
        key, number = stem, 0
        while key in issued[1] or (looks_up and key in self.checkpointer):
            number += 1
            key = f"{stem}-{number}"
        issued[1].add(key)
        return key

    @classmethod
    def load_checkpoint(cls, file_path: str | os.PathLike[str]) -> dict[str, Any]:
        """Reads a checkpoint file: a pickle, or the engine's JSON document.

        Unpickling executes what the file says: load only files you trust, set `TEA_CHECKPOINT_PICKLE` to
        `restricted` or `deny`, or use the JSON format. Raises FileNotFoundError, or ValueError for a file that
        cannot be read or is no checkpoint.
        """
        from .checkpoint_files import read_checkpoint

        def decode(data: bytes) -> Any:
            from ._native.checkpoint import decode

            return decode(data)

        return read_checkpoint(file_path, decode)

    def resume_from_checkpoint(
        self,
        checkpoint_id: Any,
        config: dict[str, Any] | None = None,
        state_update: dict[str, Any] | None = None,
    ) -> Generator[Event, None, None]:
        """Goes on from a checkpoint (id of the checkpointer, else path) and yields the events of `invoke`.

        `config` and `state_update` are put over what is stored, by their top-level keys.
        """
        return (yield from self._resume(False, checkpoint_id, config, state_update))

    def _resume(
        self, stream: bool, checkpoint_id: Any, config: Any, state_update: Any
    ) -> Generator[Event, None, None]:
        if self.checkpointer is not None:
            record = self.checkpointer.load(checkpoint_id)
        else:
            record = self.load_checkpoint(checkpoint_id)
        node = record["node"]
        if node is None:
            # Saved by `/save-state` before the first node.
            node = "__start__"
        if node not in self._structure.nodes:
            raise ValueError(f"Checkpoint node '{node}' does not exist in the graph.")
        merged = record["config"].copy()
        merged.update(config or {})
        state = record["state"].copy()
        if state_update:
            state.update(state_update)
        interrupt = record.get("interrupt") if hasattr(record, "get") else None
        interrupt = interrupt or self._interrupt_kinds.get(checkpoint_id)
        return (yield from self._run(stream, state, merged, node, interrupt))
