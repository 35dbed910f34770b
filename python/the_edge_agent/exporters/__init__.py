"""Trace exporters of other vendors."""

from __future__ import annotations

from typing import Any

__all__ = ["OpikExporter"]

OpikExporter: Any
try:
    from .opik_exporter import OpikExporter
except ImportError:
    OpikExporter = None
