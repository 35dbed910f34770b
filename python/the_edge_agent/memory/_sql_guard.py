"""Turning a user's SELECT into one that sees the rows of a single tenant only."""

from __future__ import annotations

import re
from typing import Any

from the_edge_agent.memory._availability import has_package

SQLGLOT_AVAILABLE = has_package("sqlglot")

TABLE = "agent_memory"

_FORBIDDEN = ("insert", "update", "delete", "drop", "create", "alter", "truncate", "execute", "exec")
_COMMENTS = (";--", "--", "/*", "*/")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")

# Functions that the parser has no class of its own for. Everything else by name is refused: DuckDB has
# functions that read files, settings, environment variables and other tables.
_NAMED_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        "contains starts_with ends_with prefix suffix instr strpos position left right reverse repeat "
        "lpad rpad ltrim rtrim strip_accents ascii chr unicode format printf regexp_full_match "
        "regexp_matches regexp_extract regexp_extract_all regexp_replace split_part string_split "
        "string_split_regex str_split levenshtein jaccard jaro_similarity jaro_winkler_similarity "
        "damerau_levenshtein hamming json_extract json_extract_string json_extract_path "
        "json_extract_path_text json_array_length json_keys json_type json_valid json_exists "
        "json_contains list_contains list_has list_has_any list_has_all array_contains list_position "
        "list_distinct list_unique list_sort list_reverse_sort list_sum list_avg list_min list_max "
        "list_concat list_slice list_value len length array_length strlen bit_length epoch epoch_ms "
        "epoch_us make_date make_timestamp date_part date_trunc date_diff datediff datepart date_add "
        "date_sub strftime strptime dayname monthname dayofweek dayofyear weekofyear last_day age today "
        "now sqrt cbrt exp ln log log2 log10 power pow sign trunc even gcd lcm mod degrees radians pi "
        "sin cos tan asin acos atan atan2 isnan isinf isfinite greatest least ifnull nullif bool_and "
        "bool_or mode median mad entropy kurtosis skewness product arg_min arg_max argmin argmax first "
        "last any_value string_agg group_concat listagg list array_agg histogram approx_count_distinct "
        "approx_quantile quantile quantile_cont quantile_disc count_if countif bit_and bit_or bit_xor "
        "favg fsum geometric_mean geomean ",
    )
)


class Refused(ValueError):
    """The query is not allowed; the text says why."""


def check_text(query: Any) -> str:
    """Return the query without a final semicolon. Raises ``Refused`` for what is plainly no single SELECT."""
    if not isinstance(query, str) or not query.strip():
        raise Refused("Query cannot be empty")
    text = query.strip()
    if not re.match(r"(?i)select\b", text):
        raise Refused("Only SELECT queries are allowed")
    # Words inside literals and quoted names are data.
    bare = _QUOTED.sub("''", text)
    for mark in _COMMENTS:
        if mark in bare:
            raise Refused(f"Query contains forbidden keyword: {mark}")
    for word in _FORBIDDEN:
        if re.search(rf"(?i)(?<![\w.]){word}(?!\w)", bare):
            raise Refused(f"Query contains forbidden keyword: {word}")
    return text.rstrip("; \t\r\n")


def tenant_query(query: Any, row_limit: int) -> str:
    """Return SQL with two ``?`` parameters, the Parquet location and the project id, in this order.

    The query may read the one table ``agent_memory``, which holds that project's rows and nothing else. What
    runs is written anew from the parsed form, so nothing but what was checked reaches the database. Raises
    ``Refused`` for everything else and ``ImportError`` without sqlglot.
    """
    text = check_text(query)
    if not SQLGLOT_AVAILABLE:
        raise ImportError("sqlglot not installed. Install with: pip install sqlglot")
    import sqlglot
    from sqlglot import errors, exp

    try:
        statements = sqlglot.parse(text, read="duckdb")
    except errors.SqlglotError as error:
        raise Refused(f"Query cannot be parsed: {error}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Refused("Only SELECT queries are allowed")
    tree = statements[0]
    for node in tree.walk():
        _check_node(node)
    _check_tables(tree)
    inner = tree.sql(dialect="duckdb", comments=False)
    return (
        f"WITH {TABLE} AS (SELECT * FROM read_parquet(?) WHERE project_id = ?)"
        f" SELECT * FROM ({inner}) AS result LIMIT {int(row_limit)}"
    )


def _check_node(node: Any) -> None:
    from sqlglot import exp

    if isinstance(node, (exp.Command, exp.DDL, exp.DML, exp.Into, exp.Pragma, exp.Set, exp.Copy, exp.Attach)):
        raise Refused("Only SELECT queries are allowed")
    if isinstance(node, (exp.Placeholder, exp.Parameter, exp.SessionParameter)):
        raise Refused("Query cannot contain parameters")
    if isinstance(node, exp.Anonymous):
        name = str(node.this).lower()
        if name not in _NAMED_FUNCTIONS:
            raise Refused(f"Function is not allowed: {name}")
    elif (
        isinstance(node, exp.Func)
        and type(node).__name__.lower().startswith(("read", "current", "session"))
        and not isinstance(node, (exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp))
    ):
        raise Refused(f"Function is not allowed: {node.sql_name().lower()}")


def _check_tables(tree: Any) -> None:
    """Allow the one table, by its bare name."""
    from sqlglot import exp

    if tree.find(exp.With):
        # A name that a WITH defines is a table in one part of the query and may be a real one in another.
        raise Refused("Query cannot contain WITH; use a subquery")
    for table in tree.find_all(exp.Table):
        qualified = table.args.get("db") or table.args.get("catalog")
        if not isinstance(table.this, exp.Identifier) or qualified or str(table.name).lower() != TABLE:
            raise Refused(f"Only the table '{TABLE}' can be read, not: {table.sql(dialect='duckdb')}")
    for source in tree.find_all(exp.From, exp.Join, exp.Lateral):
        what = source.this
        if not isinstance(what, (exp.Table, exp.Subquery, exp.Unnest, exp.Values, exp.Query)):
            raise Refused(f"Only the table '{TABLE}' can be read, not: {source.sql(dialect='duckdb')}")
