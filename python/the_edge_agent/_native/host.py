"""What the library may ask of Python, as functions of the table `tea_host`.

They answer quick questions about live states; node functions and conditions are never called from here. An
exception is parked for the driver (`library.parked`), which raises it.
"""

from __future__ import annotations

import logging
from _thread import get_ident
from itertools import count
from typing import TYPE_CHECKING, Any

from .library import call, ffi, lib, parked, text

if TYPE_CHECKING:
    from types import TracebackType

    from .driver import Flow

# Ids are shared by both tables, so that no id can be taken for one of the other kind.
_next_id = count(1)

# The flows that are running, by the id under which the library knows flow and state.
flows: dict[int, Flow] = {}

# Objects that the library refers to: events and results of branches, errors.
kept: dict[int, Any] = {}

_logger = logging.getLogger("the_edge_agent.stategraph")

# Text that was handed to the library must live until the next callback of the thread.
_lent: dict[int, Any] = {}


def new_id() -> int:
    """An id that was never given out; never 0."""
    return next(_next_id)


def keep(value: Any) -> int:
    """Hands an object to the library: it stays in `kept` until the library's last reference is gone."""
    key = next(_next_id)
    kept[key] = value
    return key


def _park(_type: type[BaseException], exception: BaseException, _traceback: TracebackType | None) -> None:
    parked[get_ident()] = exception


_HOST_ERROR = int(lib.TEA_ERR_HOST)


@ffi.def_extern(error=_HOST_ERROR, onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_stops(_data: Any, key: int, node: int, after: int, out: Any) -> int:
    flow = flows[key]
    graph = flow.graph
    out[0] = flow.twin.names[node] in (graph.interrupt_after if after else graph.interrupt_before)
    return 0


@ffi.def_extern(onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_log(_data: Any, level: int, target: Any, message: Any) -> None:
    name = text(target)
    logger = _logger if name == _logger.name else logging.getLogger(name)
    if logger.isEnabledFor(level):
        logger.log(level, text(message))


@ffi.def_extern(onerror=_park)  # type: ignore[untyped-decorator,unused-ignore]
def tea_py_release(_data: Any, keys: Any, n: int) -> None:
    for index in range(n):
        kept.pop(keys[index], None)


def register(engine: Any) -> None:
    """Gives the engine the table of this module and of `values`."""
    from . import values

    table = ffi.new("tea_host *")
    table.size = ffi.sizeof("tea_host")
    values.fill(table)
    table.stops = lib.tea_py_stops
    table.log = lib.tea_py_log
    table.release = lib.tea_py_release
    call(lib.tea_engine_set_host, engine, table)
