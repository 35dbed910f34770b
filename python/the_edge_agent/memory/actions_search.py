"""The ``memory.grep``, ``memory.sql_query`` and ``memory.search_content`` actions over Parquet files."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, MutableMapping
from functools import wraps
from typing import Any

from the_edge_agent.memory._results import failure
from the_edge_agent.memory._sql_guard import Refused, tenant_query

Result = dict[str, Any]

MODES = ("like", "regex", "exact")
OPERATORS = ("=", "!=", "LIKE", "IN", "IS NULL", "IS NOT NULL")

_FIELD = re.compile(r"[A-Za-z_][\w-]*(?:\[\d+\])*(?:\.[A-Za-z_][\w-]*(?:\[\d+\])*)*\Z")


def _engine_of(state: Any, keywords: dict[str, Any]) -> Any:
    places: list[Any] = [keywords.get("query_engine")]
    if isinstance(state, dict):
        places += [state.get("_query_engine"), state.get("query_engine")]
    return next((place for place in places if place is not None), None)


def _no_engine() -> Result:
    return failure("No QueryEngine available. Pass query_engine in kwargs or state.", "configuration_error")


def _location(state: Any, keywords: dict[str, Any]) -> str:
    """Where the Parquet files are: the keyword, the state, the environment, else a file in the directory."""
    own = state.get("_parquet_url") if isinstance(state, dict) else None
    named = os.environ.get("AGENT_MEMORY_PARQUET_URL")
    return str(keywords.get("parquet_url") or own or named or "agent_memory.parquet")


def _project(state: Any) -> str:
    project = state.get("project_id") if isinstance(state, dict) else None
    return str(project) if project else "default"


def _execute(engine: Any, sql: str, params: list[Any], timeout_sec: float, max_rows: int) -> Result:
    """Call the engine with as much as its ``execute`` takes."""
    from the_edge_agent.memory.query.base import QueryConfig

    config = QueryConfig(timeout_sec=timeout_sec, max_rows=max_rows)
    try:
        inspect.signature(engine.execute).bind(sql, params=params, config=config)
    except TypeError:
        result: Result = engine.execute(sql, params)
        return result
    result = engine.execute(sql, params=params, config=config)
    return result


def _rows(result: Result, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the rows as dictionaries, whether the engine gives tuples or mappings."""
    rows = result.get("rows")
    rows = result.get("results") if rows is None else rows
    return [row if isinstance(row, dict) else dict(zip(names, row, strict=False)) for row in rows or []]


def _scope(state: Any, keywords: dict[str, Any], file_types: Any, paths: Any = None) -> tuple[str, list[Any]]:
    """Return FROM and WHERE for the project's files, with parameters."""
    sql, params = "FROM read_parquet(?) WHERE project_id = ?", [_location(state, keywords), _project(state)]
    for column, wanted in (("content_type", file_types), ("file_path", paths)):
        if wanted:
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            if column == "file_path":
                sql += f" AND ({' OR '.join('starts_with(file_path, ?)' for _ in values)})"
            else:
                sql += f" AND content_type IN ({', '.join('?' for _ in values)})"
            params += [str(value) for value in values]
    return sql, params


def _line_matcher(pattern: str, mode: str, case_sensitive: bool) -> re.Pattern[str] | None:
    """Return what finds the pattern in a line; None for an invalid regular expression."""
    if mode == "regex":
        expression = pattern
    elif mode == "like":
        wild = {"%": ".*", "_": "."}
        expression = "".join(wild.get(char) or re.escape(char) for char in pattern)
    else:
        expression = re.escape(pattern)
    try:
        return re.compile(expression, 0 if case_sensitive else re.IGNORECASE)
    except re.error:
        return None


def memory_grep(
    state: Any,
    pattern: Any = None,
    mode: str = "like",
    file_types: Any = None,
    paths: Any = None,
    case_sensitive: bool = True,
    context_lines: int = 0,
    limit: int = 100,
    **keywords: Any,
) -> Result:
    """Find lines in the project's files.

    ``mode`` like knows the wildcards ``%`` and ``_``, regex is a Python regular expression, exact is plain
    text. ``paths`` are beginnings of file paths, ``file_types`` content types. Answers at most ``limit``
    matches: ``{"success", "matches": [{"file_path", "content_type", "line_number" (from 1), "match_text",
    "context"?}], "file_count", "match_count", "pattern", "mode", "case_sensitive"}``.
    """
    if mode not in MODES:
        return failure(f"Invalid mode: {mode}. Must be one of: {', '.join(MODES)}", "validation_error")
    if not isinstance(pattern, str) or not pattern.strip():
        return failure("Pattern cannot be empty", "validation_error")
    engine = _engine_of(state, keywords)
    if engine is None:
        return _no_engine()
    where, params = _scope(state, keywords, file_types, paths)
    sql = f"SELECT file_path, content, content_type {where} ORDER BY file_path"
    result = _execute(engine, sql, params, 30, 1_000_000)
    if not result.get("success"):
        return result
    matcher = _line_matcher(pattern, mode, case_sensitive)
    matches: list[dict[str, Any]] = []
    for row in _rows(result, ("file_path", "content", "content_type")):
        lines = str(row.get("content") or "").splitlines()
        for number, line in enumerate(lines):
            if matcher is None or len(matches) >= limit or not matcher.search(line):
                continue
            match = {
                "file_path": row.get("file_path"),
                "content_type": row.get("content_type"),
                "line_number": number + 1,
                "match_text": line,
            }
            if context_lines > 0:
                match["context"] = lines[max(0, number - context_lines) : number + context_lines + 1]
            matches.append(match)
    return {
        "success": True,
        "matches": matches,
        "file_count": len({match["file_path"] for match in matches}),
        "match_count": len(matches),
        "pattern": pattern,
        "mode": mode,
        "case_sensitive": case_sensitive,
    }


def memory_sql_query(
    state: Any, query: Any = None, row_limit: int = 1000, timeout_sec: float = 30, **keywords: Any
) -> Result:
    """Run a SELECT over the table ``agent_memory``, which holds the rows of ``state["project_id"]`` only.

    The query is parsed and written anew; it can reach no other table, file or setting. Answers the engine's
    result, with at most ``row_limit`` rows.
    """
    try:
        sql = tenant_query(query, int(row_limit))
    except Refused as refused:
        return failure(str(refused), "validation_error")
    except ImportError as error:
        return failure(str(error), "dependency_missing")
    engine = _engine_of(state, keywords)
    if engine is None:
        return _no_engine()
    params = [_location(state, keywords), _project(state)]
    return _execute(engine, sql, params, timeout_sec, int(row_limit))


def memory_search_content(
    state: Any,
    field_path: Any = None,
    operator: Any = "=",
    value: Any = None,
    file_types: Any = None,
    limit: int = 100,
    **keywords: Any,
) -> Result:
    """Find JSON files by a field such as ``owner.name`` or ``tags[0]``.

    ``operator`` is ``=``, ``!=``, ``LIKE``, ``IN``, ``IS NULL`` or ``IS NOT NULL``; values compare as text.
    Answers ``{"success", "files": [{"file_path", "content_type", "field_value", "anchors", "status",
    "summary"}], "count", "field_path", "operator", "value"}``.
    """
    name = str(operator).strip().upper()
    if name not in OPERATORS:
        return failure(f"Invalid operator: {operator}", "validation_error")
    if not isinstance(field_path, str) or not field_path.strip():
        return failure("field_path cannot be empty", "validation_error")
    if not _FIELD.match(field_path.strip()):
        return failure(
            f"Invalid field_path: {field_path}; use names joined by dots, such as owner.name or tags[0]",
            "validation_error",
        )
    if value is None and not name.startswith("IS"):
        return failure(f"Value required for operator: {operator}", "validation_error")
    if name == "IN" and not isinstance(value, (list, tuple)):
        return failure("Value must be a list for IN operator", "validation_error")
    engine = _engine_of(state, keywords)
    if engine is None:
        return _no_engine()
    where, params = _scope(state, keywords, file_types)
    if name.startswith("IS"):
        condition, values = f"field_value {name}", []
    elif name == "IN":
        marks = ", ".join("?" for _ in value) or "NULL"
        condition, values = f"field_value IN ({marks})", [_text(item) for item in value]
    else:
        condition, values = f"field_value {name} ?", [_text(value)]
    parts = [
        f'"{part}"' if "[" not in part else f'"{part[: part.index("[")]}"{part[part.index("[") :]}'
        for part in field_path.strip().split(".")
    ]
    sql = (
        "SELECT file_path, content_type, field_value, anchors, status, summary FROM ("
        "SELECT file_path, content_type,"
        " CASE WHEN json_valid(content) THEN json_extract_string(content, ?) END AS field_value,"
        f" anchors, status, summary, json_valid(content) AS readable {where}) AS files"
        f" WHERE readable AND {condition} ORDER BY file_path LIMIT {int(limit)}"
    )
    result = _execute(engine, sql, ["$." + ".".join(parts), *params, *values], 30, int(limit))
    if not result.get("success"):
        return result
    files = _rows(result, ("file_path", "content_type", "field_value", "anchors", "status", "summary"))
    return {
        "success": True,
        "files": files,
        "count": len(files),
        "field_path": field_path,
        "operator": operator,
        "value": value,
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


ACTIONS: dict[str, Callable[..., Result]] = {
    "memory.grep": memory_grep,
    "memory.sql_query": memory_sql_query,
    "memory.search_content": memory_search_content,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add the actions under their dotted names; they use ``engine._query_engine`` when there is one."""

    def bind(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Result:
            own = getattr(engine, "_query_engine", None)
            if own is not None:
                keywords.setdefault("query_engine", own)
            return function(*arguments, **keywords)

        return call

    for name, function in ACTIONS.items():
        registry[name] = bind(function)
