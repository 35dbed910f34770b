"""Configuration: environment references, aliases, keyword mapping, nested hierarchical form."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import (
    _is_hierarchical_nested_config,
    _parse_hierarchical_ltm_config,
    expand_env_vars,
    expand_ltm_config,
    parse_backend_config,
    parse_ltm_config,
)
from the_edge_agent.memory.config import ltm_keywords


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET}", "value"),
        ("a ${SET}/${SET} b", "a value/value b"),
        ("${UNSET_X}", ""),
        ("${UNSET_X:-default}", "default"),
        ("${UNSET_X:-}", ""),
        ("${EMPTY:-default}", ""),
        ("${UNSET_X:-http://h:1/p}", "http://h:1/p"),
        ("$SET ${} ${A:?msg}", "$SET ${} ${A:?msg}"),
        (7, 7),
        (None, None),
    ],
)
def test_expand_env_vars(text: Any, expected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-15"""
    monkeypatch.setenv("SET", "value")
    monkeypatch.setenv("EMPTY", "")
    assert expand_env_vars(text) == expected


def test_expand_env_vars_recurses_into_new_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-15"""
    monkeypatch.setenv("SET", "v")
    given = {"${SET}": ["${SET}", {"x": "${SET}"}], "n": 1}
    assert expand_env_vars(given) == {"${SET}": ["v", {"x": "v"}], "n": 1}
    assert given["${SET}"] == ["${SET}", {"x": "${SET}"}]


def test_expand_ltm_config_defaults() -> None:
    """ME-16"""
    assert expand_ltm_config({}) == {"backend": "sqlite"}
    given: dict[str, Any] = {"ltm": {"ltm_path": "f"}}
    assert expand_ltm_config(given) == {"backend": "sqlite", "ltm_path": "f"}
    assert given == {"ltm": {"ltm_path": "f"}}


@pytest.mark.parametrize("name", ["ducklake", "DuckLake"])
def test_ducklake(name: str) -> None:
    """ME-17"""
    assert expand_ltm_config({"ltm": {"backend": name}}) == {
        "backend": "duckdb",
        "catalog": {"type": "sqlite", "path": "./ltm_catalog.db"},
        "storage": {"uri": "./ltm_data/"},
        "lazy": True,
        "inline_threshold": 4096,
    }


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ({}, {"uri": "./ltm_data/"}),
        (None, {"uri": "./ltm_data/"}),
        ({"x": 1}, {"x": 1, "uri": "./ltm_data/"}),
        ({"uri": "s3://b"}, {"uri": "s3://b"}),
        ("./elsewhere", "./elsewhere"),
    ],
)
def test_ducklake_keeps_user_values(storage: Any, expected: Any) -> None:
    """ME-17"""
    config = {
        "backend": "ducklake",
        "catalog": {"type": "duckdb"},
        "storage": storage,
        "lazy": False,
        "inline_threshold": 9,
    }
    result = expand_ltm_config({"ltm": config})
    assert result["catalog"] == {"type": "duckdb", "path": "./ltm_catalog.db"}
    assert result["storage"] == expected
    assert (result["lazy"], result["inline_threshold"]) == (False, 9)
    assert config["storage"] == storage and config["catalog"] == {"type": "duckdb"}


def test_plain_duckdb_expansion_adds_nothing() -> None:
    """ME-17"""
    assert expand_ltm_config({"ltm": {"backend": "duckdb"}}) == {"backend": "duckdb"}


def test_keyword_mapping() -> None:
    """ME-14"""
    config = {
        "ltm_backend": "Sqlite",
        "ltm_path": "p",
        "ltm_url": "u",
        "ltm_auth_token": "t",
        "ltm_account_id": "a",
        "ltm_database_id": "d",
        "ltm_api_token": "k",
        "ltm_collection": "c",
        "ltm_blob_uri": "b",
        "ltm_lock_backend": "l",
        "ltm_lock_ttl": 5,
        "litestream_replica": "r",
        "catalog": {"type": "sqlite"},
        "storage": {"uri": "s"},
        "inline_threshold": None,
        "enable_fts": False,
        "lazy": True,
        "pool_size": 2,
        "echo": True,
        "surprise": 1,
    }
    backend, kwargs = parse_backend_config(config)
    assert backend == "Sqlite"
    assert kwargs == {
        "db_path": "p",
        "url": "u",
        "auth_token": "t",
        "account_id": "a",
        "database_id": "d",
        "api_token": "k",
        "collection": "c",
        "blob_uri": "b",
        "lock_backend": "l",
        "lock_ttl": 5,
        "replica_url": "r",
        "catalog_config": {"type": "sqlite"},
        "storage_uri": "s",
        "inline_threshold": None,
        "enable_fts": False,
        "lazy": True,
        "pool_size": 2,
        "echo": True,
    }
    assert parse_backend_config({}) == ("sqlite", {})
    assert parse_backend_config({"storage": {}})[1] == {"storage_uri": "./ltm_data/"}
    assert parse_backend_config({"storage": "x"})[1] == {"storage_uri": "x"}


def test_short_names() -> None:
    """ME-27, Q2: the names that the guides use are accepted; the long name wins."""
    assert parse_backend_config({"ltm_backend": "sqlite", "path": "f"})[1] == {"db_path": "f"}
    assert parse_backend_config({"ltm_backend": "sqlite", "path": "f", "db_path": "g"})[1] == {"db_path": "g"}
    assert parse_backend_config({"path": "f", "ltm_path": "h"})[1] == {"db_path": "h"}
    for name in ("sqlalchemy", "postgres"):
        assert parse_backend_config({"ltm_backend": name, "url": "u"})[1] == {"url": "u"}
    flat = {"catalog_url": "c", "storage_uri": "s", "hierarchy_levels": ["a"]}
    assert parse_backend_config({"ltm_backend": "hierarchical", **flat})[1] == flat


NESTED: dict[str, Any] = {
    "catalog": {"type": "sqlalchemy", "url": "sqlite://", "pool_size": 3, "lazy": True},
    "storage": {"uri": "file:///x"},
    "hierarchy": {
        "enabled": True,
        "levels": ["org", "user"],
        "defaults": {"org": "d"},
        "root_entity": {"a": 1},
    },
}


def test_nested_form_detection() -> None:
    """ME-18"""
    assert _is_hierarchical_nested_config({"storage": 1})
    assert not _is_hierarchical_nested_config({"storage": 1, "catalog_url": "x"})
    assert not _is_hierarchical_nested_config({"lazy": True})


def test_nested_form() -> None:
    """ME-19, ME-28"""
    assert _parse_hierarchical_ltm_config(NESTED) == {
        "catalog_url": "sqlite://",
        "storage_uri": "file:///x",
        "hierarchy_levels": ["org", "user"],
        "hierarchy_defaults": {"org": "d"},
        "pool_size": 3,
        "lazy": True,
        "inline_threshold": 1024,
        "cache_path": "_cache/",
    }
    full = {
        **NESTED,
        "storage": "plain",
        "index": {"row_group_size": 5, "extra": 1},
        "performance": {"metadata_cache": {"ttl_seconds": 1}, "parallel_reads": {"threads": 2}},
    }
    parsed = _parse_hierarchical_ltm_config(full)
    assert parsed["storage_uri"] == "plain"
    assert parsed["index_config"] == {"format": "parquet", "row_group_size": 5, "compression": "zstd"}
    assert parsed["performance_config"] == {"metadata_cache_ttl": 1, "threads": 2}
    assert parsed["hierarchy_levels"] is not NESTED["hierarchy"]["levels"]


@pytest.mark.parametrize(
    ("drop", "text"),
    [
        (("catalog", "url"), "HierarchicalLTMBackend requires 'catalog.url' in YAML config"),
        (("storage", "uri"), "HierarchicalLTMBackend requires 'storage.uri' in YAML config"),
        (("hierarchy", "levels"), "HierarchicalLTMBackend requires non-empty 'hierarchy.levels' list"),
    ],
)
def test_nested_form_requirements(drop: tuple[str, str], text: str) -> None:
    """ME-19"""
    config = {k: {n: x for n, x in v.items() if (k, n) != drop} for k, v in NESTED.items()}
    with pytest.raises(ValueError) as caught:
        _parse_hierarchical_ltm_config(config)
    assert str(caught.value) == text


def test_parse_ltm_config_creates_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-20"""
    monkeypatch.setenv("LTM_FILE", str(tmp_path / "f.db"))
    backend = parse_ltm_config({"ltm": {"backend": "sqlite", "path": "${LTM_FILE}"}})
    assert backend.db_path == str(tmp_path / "f.db")
    backend.close()
    with pytest.raises(ValueError, match=r"Unknown backend type: 'nope'"):
        parse_ltm_config({"ltm": {"backend": "nope"}})


def test_keywords_that_a_backend_lacks_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """ME-27: ignored with a warning that names the setting."""
    with caplog.at_level(logging.WARNING):
        name, kwargs = ltm_keywords({"ltm": {"backend": "sqlite", "lazy": True, "storage": "x"}})
    assert (name, kwargs) == ("sqlite", {})
    assert "has no setting lazy, storage_uri" in caplog.text
