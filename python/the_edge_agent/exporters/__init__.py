"""Trace exporters of other vendors."""

from __future__ import annotations

from .opik_exporter import OpikExporter

__all__ = ["OpikExporter"]
