"""Ending a run with an HTTP response."""

from __future__ import annotations

from typing import Any

__all__ = ["HTTPResponse"]


class HTTPResponse(Exception):
    """Raised by a node function to end the run with this response.

    `headers` gets a `Content-Type` from `content_type` unless one is present in any spelling. A non-empty
    dict that was given is changed in place.
    """

    def __init__(
        self,
        status: int = 200,
        body: Any = None,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body
        self.headers: dict[str, str] = headers or {}
        self.content_type = content_type
        if not any(isinstance(k, str) and k.lower() == "content-type" for k in self.headers):
            self.headers["Content-Type"] = content_type

    def to_dict(self) -> dict[str, Any]:
        """`{"status", "body", "headers", "content_type"}`."""
        return {
            "status": self.status,
            "body": self.body,
            "headers": self.headers,
            "content_type": self.content_type,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.status, self.body, self.headers, self.content_type))
