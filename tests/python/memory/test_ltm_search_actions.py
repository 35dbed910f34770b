"""Search over agent memory in Parquet files, and the isolation of tenants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from the_edge_agent.memory import DuckDBQueryEngine, _sql_guard
from the_edge_agent.memory.actions_search import (
    memory_grep,
    memory_search_content,
    memory_sql_query,
    register_actions,
)

SECRET = "the other tenant's secret"


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckDBQueryEngine]:
    with DuckDBQueryEngine() as made:
        made.execute("CREATE TABLE secrets AS SELECT 'inside' AS s")
        yield made


@pytest.fixture
def state(engine: DuckDBQueryEngine, tmp_path: Path) -> dict[str, Any]:
    rows = [
        ("mine", "a.json", json.dumps({"owner": {"name": "ann"}, "n": 1, "tags": ["x"]}), "json"),
        ("mine", "b.md", "first line\nSecond Line\n100% sure\nlast", "md"),
        ("mine", "sub/c.json", json.dumps({"owner": {"name": "bob"}, "flag": True}), "json"),
        ("theirs", "z.json", json.dumps({"owner": {"name": "ann"}, "secret": SECRET}), "json"),
        ("it's", "q.md", "quoted project", "md"),
    ]
    table = pa.table(
        {
            "project_id": [r[0] for r in rows],
            "file_path": [r[1] for r in rows],
            "content": [r[2] for r in rows],
            "content_type": [r[3] for r in rows],
            "anchors": [["top"] for _ in rows],
            "status": ["active" for _ in rows],
            "summary": ["s" for _ in rows],
            "created_at": ["2026-01-01" for _ in rows],
        }
    )
    path = tmp_path / "it's.parquet"
    parquet.write_table(table, path)
    return {"project_id": "mine", "_query_engine": engine, "_parquet_url": str(path)}


def sql(state: dict[str, Any], query: str, **more: Any) -> dict[str, Any]:
    return memory_sql_query(state, query, **more)


def test_select(state: dict[str, Any]) -> None:
    """ME-197, ME-198: any shape of SELECT over the project's rows."""
    cases: list[tuple[str, list[Any]]] = [
        ("SELECT count(*) FROM agent_memory", [(3,)]),
        ("select file_path from agent_memory where content_type = 'md';", [("b.md",)]),
        ("SELECT file_path FROM Agent_Memory ORDER BY created_at, file_path LIMIT 1", [("a.json",)]),
        ("SELECT content_type, count(*) FROM agent_memory GROUP BY 1 ORDER BY 1", [("json", 2), ("md", 1)]),
        ("SELECT count(*) FROM agent_memory a JOIN agent_memory b ON a.file_path = b.file_path", [(3,)]),
        ("SELECT n FROM (SELECT count(*) AS n FROM agent_memory) WHERE n > 1", [(3,)]),
        ("SELECT 'drop table x; -- no' AS t FROM agent_memory LIMIT 1", [("drop table x; -- no",)]),
        (
            "SELECT json_extract_string(content, '$.owner.name') FROM agent_memory"
            " WHERE file_path = 'a.json'",
            [("ann",)],
        ),
        ("SELECT max(length(content)) > 5 FROM agent_memory WHERE contains(content, 'line')", [(True,)]),
        (
            "SELECT file_path FROM agent_memory WHERE file_path IN (SELECT max(file_path) FROM agent_memory)",
            [("sub/c.json",)],
        ),
        ("SELECT row_number() OVER (ORDER BY file_path) FROM agent_memory LIMIT 1", [(1,)]),
        ("SELECT 1 UNION ALL SELECT count(*)::int FROM agent_memory ORDER BY 1", [(1,), (3,)]),
    ]
    for query, expected in cases:
        result = sql(state, query)
        assert result["success"], (query, result)
        assert result["rows"] == expected, query
    assert sql(state, "SELECT file_path FROM agent_memory", row_limit=2)["row_count"] == 2


ATTACKS = [
    # The classic precedence and comment tricks
    "SELECT content FROM agent_memory WHERE 1 = 1 OR project_id = 'theirs'",
    "SELECT content FROM agent_memory WHERE project_id = 'theirs'",
    "SELECT content FROM agent_memory WHERE false OR true",
    "SELECT content FROM agent_memory) UNION ALL SELECT content FROM read_parquet('x.parquet'",
    "SELECT content FROM agent_memory -- WHERE",
    "SELECT content FROM agent_memory /* x */",
    "SELECT content FROM agent_memory; SELECT 1",
    "SELECT content FROM agent_memory; DROP TABLE secrets",
    # Other tables and files
    "SELECT * FROM secrets",
    "SELECT * FROM main.secrets",
    "SELECT * FROM memory.main.secrets",
    "SELECT * FROM agent_memory, secrets",
    "SELECT * FROM agent_memory NATURAL JOIN secrets",
    "SELECT (SELECT s FROM secrets) FROM agent_memory",
    "SELECT * FROM agent_memory WHERE EXISTS (SELECT 1 FROM secrets)",
    "SELECT * FROM 'PATH'",
    'SELECT * FROM "PATH"',
    "SELECT * FROM read_parquet('PATH')",
    "SELECT * FROM parquet_scan('PATH')",
    "SELECT * FROM agent_memory UNION ALL SELECT * FROM read_parquet('PATH')",
    "SELECT * FROM agent_memory LEFT JOIN LATERAL read_parquet('PATH') ON true",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('PATH')",
    "SELECT * FROM query('SELECT * FROM secrets')",
    "SELECT * FROM query_table('secrets')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_tables",
    "SELECT * FROM pragma_table_info('secrets')",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM range(5)",
    # Functions that reach outside
    "SELECT getenv('HOME') FROM agent_memory",
    "SELECT current_setting('home_directory') FROM agent_memory",
    "SELECT getvariable('x') FROM agent_memory",
    "SELECT current_database() FROM agent_memory",
    "SELECT nextval('x') FROM agent_memory",
    "SELECT json_execute_serialized_sql('x') FROM agent_memory",
    "SELECT json_serialize_sql('SELECT 1') FROM agent_memory",
    "SELECT main.getenv('HOME') FROM agent_memory",
    "SELECT ('HOME').getenv() FROM agent_memory",
    "SELECT \"getenv\"('HOME') FROM agent_memory",
    "SELECT list_transform(['HOME'], x -> getenv(x)) FROM agent_memory",
    "SELECT version(), current_user, current_schemas(true)",
    # DuckDB's own ways to name a table
    "SELECT * FROM agent_memory POSITIONAL JOIN secrets",
    "SELECT * FROM (FROM secrets)",
    "SELECT * FROM (TABLE secrets)",
    "SELECT * FROM (SUMMARIZE secrets)",
    "SELECT * FROM (DESCRIBE secrets)",
    "SELECT * FROM (SHOW TABLES)",
    "SELECT * FROM (PIVOT secrets ON s)",
    "SELECT [s for s in (SELECT s FROM secrets)]",
    "SELECT x.y FROM agent_memory, LATERAL (SELECT * FROM secrets) x(y)",
    # Taking over the table's name
    "WITH agent_memory AS (SELECT * FROM secrets) SELECT * FROM agent_memory",
    "SELECT * FROM (WITH agent_memory AS (SELECT 1) SELECT * FROM agent_memory)",
    "SELECT * FROM (WITH x AS (SELECT * FROM secrets) SELECT * FROM x)",
    "SELECT * FROM (WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT 1 FROM x) SELECT * FROM x)",
    "SELECT * FROM (WITH secrets AS (SELECT * FROM agent_memory) SELECT * FROM secrets), secrets",
    # Not a SELECT
    "INSERT INTO agent_memory VALUES (1)",
    "COPY agent_memory TO 'x'",
    "PRAGMA version",
    "ATTACH 'x.db'",
    "SELECT * INTO x FROM agent_memory",
    "SELECT 1 FROM agent_memory WHERE ? = 1",
    "SELECT $1 FROM agent_memory",
    "FROM agent_memory",
    "",
    "   ",
    "SELECT * FROM agent_memory WHERE (",
    "SELECT * FROM agent_memory WHERE file_path = 'x' ; DELETE FROM agent_memory",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_see_nothing_of_others(state: dict[str, Any], attack: str) -> None:
    """ME-198, Q15: refused, or answered from the project's own rows."""
    quoted = str(state["_parquet_url"]).replace("'", "''")
    result = sql(state, attack.replace("PATH", quoted))
    shown = repr(result)
    assert SECRET not in shown and "theirs" not in repr(result.get("rows")) and "inside" not in shown
    assert "root:" not in shown
    if result["success"]:
        assert "agent_memory" in attack and result["row_count"] <= 3
    else:
        assert result["error_type"] in ("validation_error", "query_error")


@pytest.mark.parametrize("project", ["it's", "x' OR '1'='1", "mine' --", "theirs", "", None])
def test_project_id_is_bound(state: dict[str, Any], project: Any) -> None:
    """ME-198"""
    expected = {"it's": 1, "theirs": 1}.get(project, 0)
    result = sql({**state, "project_id": project}, "SELECT count(*) FROM agent_memory")
    assert result["rows"] == [(expected,)]
    assert memory_grep({**state, "project_id": project}, "e")["file_count"] == expected


def test_texts(state: dict[str, Any]) -> None:
    """ME-197"""
    cases = [
        ("", "Query cannot be empty"),
        ("UPDATE x SET y = 1", "Only SELECT queries are allowed"),
        ("SELECT 1; DROP TABLE x", "Query contains forbidden keyword: drop"),
        ("SELECT 1 -- x", "Query contains forbidden keyword: --"),
        ("SELECT 1 /* x */", "Query contains forbidden keyword: /*"),
    ]
    for query, text in cases:
        assert sql(state, query) == {"success": False, "error": text, "error_type": "validation_error"}
    assert sql(state, "SELECT created_at FROM agent_memory LIMIT 1")["success"]
    missing = memory_sql_query({}, "SELECT 1 FROM agent_memory")
    assert missing["error_type"] == "configuration_error"
    assert missing["error"] == "No QueryEngine available. Pass query_engine in kwargs or state."


def test_without_parser(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the parser nothing runs."""
    monkeypatch.setattr(_sql_guard, "SQLGLOT_AVAILABLE", False)
    result = sql(state, "SELECT 1 FROM agent_memory")
    assert result["error_type"] == "dependency_missing" and "pip install sqlglot" in result["error"]


def test_engine_results_pass_through(state: dict[str, Any]) -> None:
    """ME-196, ME-197"""
    answer = {"success": False, "error": "Circuit breaker is open", "error_type": "circuit_open"}
    double = SimpleNamespace(execute=lambda sql, params=None: answer)
    assert memory_sql_query({}, "SELECT 1 FROM agent_memory", query_engine=double) is answer
    assert memory_grep({}, "x", query_engine=double) is answer
    rows = {"success": True, "results": [{"file_path": "f", "content": "a\nb x", "content_type": "md"}]}
    double = SimpleNamespace(execute=lambda sql, params=None, config=None: rows)
    assert memory_grep({"query_engine": double}, "x")["matches"][0]["line_number"] == 2


def matches(result: dict[str, Any]) -> list[tuple[str, int]]:
    assert result["success"], result
    return [(match["file_path"], match["line_number"]) for match in result["matches"]]


def test_grep(state: dict[str, Any]) -> None:
    """ME-196"""
    assert matches(memory_grep(state, "line")) == [("b.md", 1)]
    assert matches(memory_grep(state, "line", case_sensitive=False)) == [("b.md", 1), ("b.md", 2)]
    assert matches(memory_grep(state, "f%line")) == [("b.md", 1)]
    assert matches(memory_grep(state, "^last$", mode="regex")) == [("b.md", 4)]
    assert matches(memory_grep(state, "100% s", mode="exact")) == [("b.md", 3)]
    assert matches(memory_grep(state, "(", mode="regex")) == []
    assert matches(memory_grep(state, "%", file_types=["json"])) == [("a.json", 1), ("sub/c.json", 1)]
    assert matches(memory_grep(state, "%", paths="sub/")) == [("sub/c.json", 1)]
    assert len(matches(memory_grep(state, "%", limit=2))) == 2
    found = memory_grep(state, "Second", context_lines=1, unknown="ignored")
    assert found["matches"][0]["context"] == ["first line", "Second Line", "100% sure"]
    assert (found["file_count"], found["match_count"], found["mode"]) == (1, 1, "like")
    bad = memory_grep(state, "x", mode="fuzzy")
    assert bad["error"] == "Invalid mode: fuzzy. Must be one of: like, regex, exact"
    assert memory_grep(state, "  ")["error"] == "Pattern cannot be empty"
    assert matches(memory_grep(state, SECRET)) == []


def test_search_content(state: dict[str, Any]) -> None:
    """ME-199"""
    found = memory_search_content(state, "owner.name", "=", "ann")
    assert found["files"] == [
        {
            "file_path": "a.json",
            "content_type": "json",
            "field_value": "ann",
            "anchors": ["top"],
            "status": "active",
            "summary": "s",
        }
    ]
    assert (found["count"], found["field_path"], found["operator"], found["value"]) == (
        1,
        "owner.name",
        "=",
        "ann",
    )
    cases: list[tuple[str, str, Any, list[str]]] = [
        ("owner.name", "!=", "ann", ["sub/c.json"]),
        ("owner.name", "like", "b%", ["sub/c.json"]),
        ("owner.name", "IN", ["ann", "bob", "x'"], ["a.json", "sub/c.json"]),
        ("owner.name", "IN", [], []),
        ("flag", "=", True, ["sub/c.json"]),
        ("n", "=", 1, ["a.json"]),
        ("tags[0]", "=", "x", ["a.json"]),
        ("n", "IS NULL", None, ["sub/c.json"]),
        ("n", "IS NOT NULL", None, ["a.json"]),
        ("secret", "IS NOT NULL", None, []),
    ]
    for field, operator, value, expected in cases:
        result = memory_search_content(state, field, operator, value)
        assert [row["file_path"] for row in result["files"]] == expected, (field, operator, result)
    errors = [
        (("n", "~", 1), "Invalid operator: ~"),
        (("", "=", 1), "field_path cannot be empty"),
        (("n", "="), "Value required for operator: ="),
        (("n", "IN", "x"), "Value must be a list for IN operator"),
    ]
    for arguments, text in errors:
        assert memory_search_content(state, *arguments)["error"] == text
    assert memory_search_content(state, "a') OR 1=1 --", "=", 1)["error"].startswith("Invalid field_path: ")


def test_registration(state: dict[str, Any], engine: DuckDBQueryEngine) -> None:
    """ME-195: the engine's query engine is used when there is one."""
    registry: dict[str, Any] = {}
    register_actions(registry, SimpleNamespace(_query_engine=engine))
    assert set(registry) == {"memory.grep", "memory.sql_query", "memory.search_content"}
    bare = {"project_id": "mine", "_parquet_url": state["_parquet_url"]}
    assert registry["memory.grep"](bare, "last")["match_count"] == 1
    register_actions(registry, SimpleNamespace())
    assert registry["memory.grep"](bare, "last")["error_type"] == "configuration_error"
