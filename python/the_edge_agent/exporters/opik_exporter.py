"""Export of spans to Opik.

This file uses the standard library only and no relative imports, so that it can be loaded by its path.
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

__all__ = ["OpikExporter"]

logger = logging.getLogger("the_edge_agent.exporters.opik")

_TOKEN_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class OpikExporter:
    """Sends spans to Opik as traces with nested spans.

    Each argument falls back to an environment variable: `OPIK_API_KEY`, `OPIK_PROJECT_NAME` (then
    `the-edge-agent`), `OPIK_WORKSPACE`, `OPIK_URL_OVERRIDE`. The library `opik` is imported by the first
    export. Spans that end before their parent are kept until the root of their tree is there.
    """

    def __init__(
        self,
        api_key: str | None = None,
        project_name: str | None = None,
        workspace: str | None = None,
        url_override: str | None = None,
    ) -> None:
        self._api_key = api_key or os.environ.get("OPIK_API_KEY")
        self._project_name = project_name or os.environ.get("OPIK_PROJECT_NAME") or "the-edge-agent"
        self._workspace = workspace or os.environ.get("OPIK_WORKSPACE")
        self._url_override = url_override or os.environ.get("OPIK_URL_OVERRIDE")
        self._client: Any = None
        self._lock = threading.RLock()
        # Trace of every span sent so far, by span id, and spans that wait for their parent, by its id.
        self._traces: dict[str, Any] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def _check_opik_available(self) -> Any:
        """The module `opik`; raises `ImportError` that says how to install it."""
        try:
            return import_module("opik")
        except ImportError as e:
            raise ImportError("The opik library is not installed. Install it with: pip install opik") from e

    def _get_client(self) -> Any:
        if self._client is None:
            opik = self._check_opik_available()
            given = {
                "api_key": self._api_key,
                "workspace": self._workspace,
                "url": self._url_override,
            }
            given = {name: value for name, value in given.items() if value}
            if given:
                opik.configure(**given)
            self._client = opik.Opik(project_name=self._project_name)
        return self._client

    def export(self, span: dict[str, Any]) -> None:
        """Send a completed span, or keep it until its parent is sent.

        Raises `ImportError` if opik is not installed; other failures are logged and go no further.
        """
        with self._lock:
            client = self._client_or_none()
            if client is None:
                return
            parent_id = span.get("parent_id")
            if parent_id is None or parent_id in self._traces:
                self._send_tree(client, span)
                return
            self._waiting.setdefault(parent_id, []).append(span)
            if sum(map(len, self._waiting.values())) > _MAX_WAITING:
                self._send_orphans(client)

    def _client_or_none(self) -> Any:
        try:
            return self._get_client()
        except ImportError:
            raise
        except Exception as e:
            logger.debug("Opik is not usable: %s", e)
            return None

    def _send_tree(self, client: Any, span: dict[str, Any]) -> None:
        """Send a span whose parent is known, or that has none, and everything that waited for it."""
        pending = [span]
        while pending:
            current = pending.pop(0)
            try:
                self._send(client, current)
            except Exception as e:
                logger.debug("Opik export of span %s failed: %s", current.get("name"), e)
            pending += self._waiting.pop(current["span_id"], [])

    def _send(self, client: Any, span: dict[str, Any]) -> None:
        fields: dict[str, Any] = {
            "name": span.get("name"),
            "start_time": _time(span.get("start_time")),
            "end_time": _time(span.get("end_time")),
            "metadata": _metadata(span),
        }
        parent = self._traces.get(span.get("parent_id") or "")
        if parent is None:
            trace = client.trace(**fields)
            self._remember(span["span_id"], trace, None)
            return
        trace, parent_span_id = parent
        metrics = span.get("metrics") or {}
        usage = {name: metrics[name] for name in _TOKEN_COUNTS if name in metrics}
        sent = trace.span(**fields, parent_span_id=parent_span_id, usage=usage or None)
        self._remember(span["span_id"], trace, getattr(sent, "id", None))

    def _remember(self, span_id: str, trace: Any, opik_span_id: str | None) -> None:
        self._traces[span_id] = (trace, opik_span_id)
        if len(self._traces) > _MAX_REMEMBERED:
            del self._traces[next(iter(self._traces))]

    def _send_orphans(self, client: Any) -> None:
        """Send what still waits; a span whose parent never came becomes a trace of its own."""
        waiting = [span for spans in self._waiting.values() for span in spans]
        ids = {span["span_id"] for span in waiting}
        for span in waiting:
            if span.get("parent_id") not in ids:
                self._waiting[span["parent_id"]].remove(span)
                self._send_tree(client, span)
        self._waiting.clear()

    def flush(self) -> None:
        """Have the client send what it has buffered."""
        with self._lock:
            if self._client is None:
                return
            try:
                self._client.flush()
            except Exception as e:
                logger.debug("Opik flush failed: %s", e)

    def end(self) -> None:
        """Send what still waits for its parent, end the client, and forget all traces."""
        with self._lock:
            if self._client is not None:
                self._send_orphans(self._client)
                try:
                    self._client.end()
                except Exception as e:
                    logger.debug("Ending the Opik client failed: %s", e)
            self._client = None
            self._traces.clear()
            self._waiting.clear()


_MAX_WAITING = 10_000
_MAX_REMEMBERED = 10_000


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _metadata(span: dict[str, Any]) -> dict[str, Any] | None:
    metadata = dict(span.get("metadata") or {})
    if span.get("events"):
        metadata["tea_events"] = span["events"]
    if span.get("error"):
        metadata["error_message"] = span["error"]
    other = {k: v for k, v in (span.get("metrics") or {}).items() if k not in _TOKEN_COUNTS}
    if other:
        metadata["tea_metrics"] = other
    return metadata or None
