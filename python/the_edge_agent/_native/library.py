"""Loads the extension, makes the engine, turns errors of the library into exceptions."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from . import _tea

if TYPE_CHECKING:
    from collections.abc import Callable

ffi: Any = _tea.ffi
lib: Any = _tea.lib

if lib.tea_abi_version() < lib.TEA_ABI_VERSION:  # pragma: no cover - the wheel holds both
    raise ImportError(
        f"libtea has ABI {lib.tea_abi_version()}, but this package was built for {lib.TEA_ABI_VERSION}; "
        "reinstall the_edge_agent"
    )

# Threads that are not Python's own must not call into an interpreter that is going away.
atexit.register(lib.tea_shutdown)

NULL: Any = ffi.NULL

# Exceptions raised inside a callback cannot pass through the library: they wait here, by thread, until the call
# that asked returns TEA_ERR_HOST.
parked: dict[int, BaseException] = {}


class NativeError(RuntimeError):
    """The library refused a call in a way that has no exception of its own in the API: a defect of the binding."""


def text(string: Any) -> str:
    """A borrowed `tea_str` as text."""
    return bytes(ffi.buffer(string.ptr, string.len)).decode() if string.len else ""


def take(buffer: Any) -> str:
    """The text of a `tea_buffer *`, which is freed."""
    try:
        return bytes(ffi.buffer(buffer.ptr, buffer.len)).decode() if buffer.len else ""
    finally:
        lib.tea_buffer_free(buffer)


def encode(value: str) -> bytes:
    """Text for the library. Lone surrogates, which UTF-8 cannot hold, are shown escaped."""
    return value.encode("utf-8", "backslashreplace")


def error_of(status: int, error: Any) -> BaseException:
    """The exception for a failed call; frees the error object. A parked exception of a callback comes first."""
    message, name = f"libtea failed with status {status}", "RuntimeError"
    if error[0] != NULL:
        message, name = text(lib.tea_error_message(error[0])), text(lib.tea_error_class(error[0]))
        lib.tea_error_free(error[0])
        error[0] = NULL
    if status == lib.TEA_ERR_HOST:
        from _thread import get_ident

        exception = parked.pop(get_ident(), None)
        if exception is not None:
            return exception
    if status == lib.TEA_ERR_AGENT or status == lib.TEA_ERR_TEMPLATE:
        from .agent import exception_of

        return exception_of(name, message)
    if status <= lib.TEA_ERR_BUILD:
        kinds: dict[str, type[Exception]] = {
            "ValueError": ValueError,
            "KeyError": KeyError,
            "FileNotFoundError": FileNotFoundError,
            "OSError": OSError,
            "TypeError": TypeError,
        }
        return kinds.get(name, RuntimeError)(message)
    return NativeError(message)


def call(function: Callable[..., int], *arguments: Any) -> int:
    """Calls a function of the library whose last parameter is the error; raises what it reports.

    `bytes` are passed as `tea_str`: this frame keeps them alive through the call.
    """
    error = ffi.new("tea_error **")
    passed = [
        ffi.new("tea_str *", (ffi.from_buffer("uint8_t[]", value), len(value)))[0]
        if type(value) is bytes
        else value
        for value in arguments
    ]
    status = function(*passed, error)
    if status < 0:
        raise error_of(status, error)
    return status


_engine: Any = None


def engine() -> Any:
    """The engine of the process, made on first use. It holds no thread, so a forked child may go on using it."""
    global _engine
    if _engine is None:
        from . import host

        out = ffi.new("tea_engine **")
        call(lib.tea_engine_new, out)
        host.register(out[0])
        _engine = out[0]
    return _engine
