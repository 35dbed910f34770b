"""The SQLAlchemy backend on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from the_edge_agent.memory import SQLAlchemyBackend, create_ltm_backend, parse_ltm_config
from the_edge_agent.memory import sqlalchemy_backend as module


@pytest.fixture
def backend(sql_url: str) -> Iterator[SQLAlchemyBackend]:
    with SQLAlchemyBackend(sql_url) as made:
        yield made


@pytest.fixture
def sqlite_backend() -> Iterator[SQLAlchemyBackend]:
    with SQLAlchemyBackend("sqlite://") as made:
        yield made


def keys(result: dict[str, Any]) -> list[str]:
    assert result["success"], result
    assert result["count"] == len(result["results"])
    return [row["key"] for row in result["results"]]


def test_contract(backend: SQLAlchemyBackend) -> None:
    """ME-47, ME-5 to ME-8"""
    assert backend.store("k", {"a": [1, None, "é\U0001f600"]}, {"m": 1})["created"] is True
    expected = {
        "success": True,
        "value": {"a": [1, None, "é\U0001f600"]},
        "found": True,
        "metadata": {"m": 1},
    }
    assert backend.retrieve("k")["value"]["a"][0] == 1
    assert backend.retrieve("k") == expected
    assert backend.store("k", 2, {}) == {"success": True, "stored": True, "key": "k", "created": False}
    assert backend.retrieve("k")["metadata"] == {}
    for key in (None, ""):
        for result in (backend.store(key, 1), backend.retrieve(key), backend.delete(key)):  # type: ignore[arg-type]
            assert result["error"] == "Key is required and cannot be empty"
    assert backend.retrieve("no", 4) == {"success": True, "value": 4, "found": False, "metadata": None}
    assert backend.delete("k") == {"success": True, "deleted": True, "key": "k"}
    assert backend.delete("k")["deleted"] is False


@pytest.mark.parametrize("value", ["text", 5, 1.5, True, None, "", [], {}, {"1": [2]}, "x" * 300_000])
def test_every_json_value_round_trips(backend: SQLAlchemyBackend, value: Any) -> None:
    """ME-6, ME-51: scalars too, also through search and on PostgreSQL."""
    assert backend.store("key", value, {"tag": "findme"})["success"]
    found = backend.retrieve("key", "default")
    assert found["found"] and found["value"] == value
    rows = backend.search("findme" if value != "x" * 300_000 else None)["results"]
    assert [row["value"] for row in rows] == [value]


def test_keys_compare_exactly(backend: SQLAlchemyBackend) -> None:
    """ME-8: keys that differ in case or trailing blanks are different keys on every database."""
    names = ["key", "KEY", "key ", "kéy", "key%", "k" * 512]
    for number, name in enumerate(names):
        assert backend.store(name, number)["created"] is True
    assert [backend.retrieve(name)["value"] for name in names] == [0, 1, 2, 3, 4, 5]


def test_odd_text(backend: SQLAlchemyBackend) -> None:
    """ME-47: NUL and lone surrogates do not break a store."""
    # PostgreSQL and MariaDB refuse lone surrogates inside JSON.
    value = {"t": "a\0b \ud800"} if backend.dialect == "sqlite" else {"t": "a\0b"}
    assert backend.store("k", value)["success"]
    assert backend.retrieve("k")["value"] == value


def test_serialization_failure_writes_nothing(backend: SQLAlchemyBackend) -> None:
    """ME-48"""
    result = backend.store("k", {"x": object()})
    assert result["error_type"] == "serialization_error"
    assert result["error"].startswith("Failed to serialize value: ")
    assert backend.retrieve("k")["found"] is False


def test_filter_before_limit(backend: SQLAlchemyBackend) -> None:
    """ME-50, Q9: with and without a query; entries without metadata never pass a filter."""
    for i in range(30):
        backend.store(f"k{i}", "common words", {"n": i % 15, "deep": {"a": [i % 2]}})
    backend.store("bare", "common words")
    assert set(keys(backend.search("common", {"n": 3}, limit=2))) == {"k3", "k18"}
    assert keys(backend.search(metadata_filter={"n": 3}, limit=1)) == ["k18"]
    assert set(keys(backend.search(metadata_filter={"n": 4, "deep": {"a": [0]}}, limit=1000))) == {"k4"}
    assert len(keys(backend.search(limit=-1))) == 31
    assert len(keys(backend.search("common", limit=4))) == 4
    assert backend.search(limit=0)["results"] == []


def test_search_text_and_order(backend: SQLAlchemyBackend) -> None:
    """ME-45, ME-50"""
    backend.store("s", "mountain lake")
    backend.store("d", {"t": "mountain river", "n": {"x": "hidden"}, "i": 5})
    backend.store("l", ["mountain", 3, ["hidden"]], {"note": "forest"})
    backend.store("s", "mountain lake again")
    assert set(keys(backend.search("mountain"))) == {"s", "d", "l"}
    assert keys(backend.search("hidden")) == []
    assert keys(backend.search("forest")) == ["l"]
    rows = backend.search()["results"]
    assert [row["key"] for row in rows] == ["s", "l", "d"] and rows[0]["score"] == 0.0
    score = backend.search("forest")["results"][0]["score"]
    assert isinstance(score, float) and score > 0


def test_like_wildcards_are_literal(sqlite_backend: SQLAlchemyBackend) -> None:
    """ME-50, Q10"""
    sqlite_backend.store("a", "100% sure_thing")
    sqlite_backend.store("b", "100 sureXthing \\ back")
    assert keys(sqlite_backend.search("100%")) == ["a"]
    assert keys(sqlite_backend.search("sure_thing")) == ["a"]
    assert keys(sqlite_backend.search("\\")) == ["b"]
    assert keys(sqlite_backend.search("SURE")) == ["b", "a"]
    assert sqlite_backend.search("100%")["results"][0]["score"] == 1.0


def test_iterate_all(backend: SQLAlchemyBackend) -> None:
    """ME-52"""
    with backend.transaction() as tx:
        for i in range(250):
            tx.store(f"k{i:03}", i, {"i": i} if i else None)
    rows = []
    for row in backend.iterate_all():
        rows.append(row)
        assert backend.retrieve(row[0])["found"], "the backend can be used inside the loop"
    assert len(rows) == 250 and rows[0] == ("k000", 0, {}) and rows[249] == ("k249", 249, {"i": 249})


def test_transaction(backend: SQLAlchemyBackend) -> None:
    """ME-53, ME-54, ME-55"""
    backend.store("old", 1)
    with pytest.raises(KeyError), backend.transaction() as tx:
        tx.store("a", "transaction words")
        tx.delete("old")
        raise KeyError("stop")
    assert backend.retrieve("a")["found"] is False and backend.retrieve("old")["found"] is True
    with backend.transaction() as tx:
        tx.store("a", "transaction words")
        tx.delete("old")
        assert backend.retrieve("a")["value"] == "transaction words", "calls inside the block take part"
        assert [row[0] for row in backend.iterate_all()] == ["a"]
    assert keys(backend.search("transaction")) == ["a"]
    assert backend.retrieve("old")["found"] is False


def test_transaction_states(sqlite_backend: SQLAlchemyBackend) -> None:
    """ME-53, ME-54"""
    tx = sqlite_backend.transaction()
    for call in (lambda: tx.store("k", 1), lambda: tx.delete("k")):
        with pytest.raises(RuntimeError, match=r"^Transaction not started\. Use 'with' context manager\.$"):
            call()
    assert tx.commit() == {"success": True}
    with sqlite_backend.transaction() as tx:
        tx.store("k", 1)
        assert tx.commit() == {"success": True}
        assert tx.commit()["error"] == "Already committed"
        assert tx.rollback()["error"] == "Already committed"
    with sqlite_backend.transaction() as tx:
        tx.store("x", 1)
        assert tx.rollback()["success"]
        assert tx.commit()["error"] == "Already rolled back"
        with pytest.raises(RuntimeError, match=r"Transaction not started"):
            tx.store("x", 1)
    assert sqlite_backend.retrieve("x")["found"] is False
    with pytest.raises(ValueError, match=r"Key is required"), sqlite_backend.transaction() as tx:
        tx.store("kept?", 1)
        tx.store("", 1)
    assert sqlite_backend.retrieve("kept?")["found"] is False
    with sqlite_backend.transaction(), pytest.raises(RuntimeError, match=r"already open"):
        sqlite_backend.transaction().__enter__()
    assert sqlite_backend.store("after", 1)["success"], "the lock is free again"


def test_lazy(tmp_path: Path) -> None:
    """ME-41, ME-44"""
    backend = SQLAlchemyBackend(f"sqlite:///{tmp_path}/f.db", lazy=True)
    assert backend._initialized is False and backend._engine is None
    assert not (tmp_path / "f.db").exists()
    assert backend.dialect == "sqlite"
    assert backend._initialized is True and backend._session_factory is not None
    backend.close()


def test_unreachable(tmp_path: Path) -> None:
    """ME-41, ME-48"""
    url = f"sqlite:///{tmp_path}/no/f.db"
    with pytest.raises(sa.exc.OperationalError):
        SQLAlchemyBackend(url)
    result = SQLAlchemyBackend(url, lazy=True).store("k", 1)
    assert result["error"].startswith("Database error: ") and result["error_type"] == "connection_error"


def test_close(backend: SQLAlchemyBackend) -> None:
    """ME-47, ME-56, Q25: it stays closed."""
    backend.store("k", 1)
    backend.close()
    backend.close()
    assert backend._engine is None and backend._session_factory is None and not backend._initialized
    for result in (backend.store("k", 1), backend.retrieve("k"), backend.delete("k"), backend.search()):
        assert (result["error"], result["error_type"]) == ("Backend is closed", "connection_error")
    assert backend.store("", 1)["error_type"] == "validation_error"
    assert list(backend.iterate_all()) == []
    with pytest.raises(RuntimeError, match=r"Backend is closed"):
        backend.dialect  # noqa: B018


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-40"""
    monkeypatch.setattr(module, "SQLALCHEMY_AVAILABLE", False)
    with pytest.raises(
        ImportError, match=r"^SQLAlchemy not installed\. Install with: pip install sqlalchemy$"
    ):
        SQLAlchemyBackend("sqlite://")


def test_registered_and_configurable(tmp_path: Path) -> None:
    """ME-13, ME-27, Q2"""
    with create_ltm_backend("SQLAlchemy", url="sqlite://") as backend:
        assert isinstance(backend, SQLAlchemyBackend)
    settings = {
        "ltm": {"backend": "sqlalchemy", "url": f"sqlite:///{tmp_path}/f.db", "storage": {"uri": "x"}}
    }
    with parse_ltm_config(settings) as backend:
        assert backend.store("k", 1)["success"]
    assert (tmp_path / "f.db").exists()


def test_custom_table_name(sql_url: str) -> None:
    """ME-46: also a name that needs quoting, with search and transactions."""
    name = 'my "odd" table; DROP' if not sql_url.startswith("mysql") else "my `odd` table"
    with SQLAlchemyBackend(sql_url, table_name=name) as backend:
        backend.store("k", "special words")
        assert keys(backend.search("special")) == ["k"]
        assert backend._engine is not None
        assert name in sa.inspect(backend._engine).get_table_names()
    with pytest.raises(ValueError, match=r"table_name must be"):
        SQLAlchemyBackend(sql_url, table_name="")


def test_foreign_table_is_refused(tmp_path: Path) -> None:
    """ME-57: a table of another purpose gives a clear error and stays as it was."""
    url = f"sqlite:///{tmp_path}/f.db"
    engine = sa.create_engine(url)
    with engine.begin() as conn:
        conn.execute(sa.text("CREATE TABLE ltm_entries (id TEXT PRIMARY KEY, key TEXT)"))
    with pytest.raises(ValueError, match=r"exists with other columns"):
        SQLAlchemyBackend(url)
    engine.dispose()


def test_postgres_schema(postgres_url: str) -> None:
    """Section 7.2; an older table without search_vector is brought up to date with its entries."""
    engine = sa.create_engine(postgres_url)
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "CREATE TABLE ltm_entries (key VARCHAR(512) PRIMARY KEY, value JSON NOT NULL, metadata JSON,"
                " search_text TEXT, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now())"
            )
        )
        conn.execute(
            sa.text(
                "INSERT INTO ltm_entries (key, value, search_text) VALUES ('old', '\"t\"', 'ancient words')"
            )
        )
    with SQLAlchemyBackend(postgres_url) as backend:
        assert backend.dialect == "postgresql"
        assert keys(backend.search("ancient")) == ["old"]
        backend.store("stem", "running dogs")
        assert keys(backend.search("run dog")) == ["stem"]
        indexes = {index["name"] for index in sa.inspect(engine).get_indexes("ltm_entries")}
        assert "idx_ltm_entries_search_vector" in indexes
    engine.dispose()


def test_mariadb_schema(mariadb_url: str) -> None:
    """Section 7.2, ME-50"""
    with SQLAlchemyBackend(mariadb_url) as backend:
        assert backend.dialect in ("mysql", "mariadb")
        assert backend._engine is not None
        with backend._engine.connect() as conn:
            indexes = conn.execute(sa.text("SHOW INDEX FROM ltm_entries")).mappings().all()
        assert ("idx_ltm_entries_fulltext", "FULLTEXT") in [(i["Key_name"], i["Index_type"]) for i in indexes]


def test_threads(backend: SQLAlchemyBackend) -> None:
    """ME-49: threads share one backend, also on one in-memory connection."""
    problems: list[Any] = []

    def write(worker: int) -> None:
        for i in range(20):
            for result in (backend.store(f"{worker}-{i}", i), backend.store("shared", worker)):
                if not result["success"]:
                    problems.append(result)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and backend.search(limit=-1)["count"] == 121


WRITER = """
import sys
from the_edge_agent.memory import SQLAlchemyBackend
url, worker, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SQLAlchemyBackend(url, pool_size=1) as backend:
    for i in range(count):
        for key in (f"{worker}-{i}", f"shared-{i}"):
            result = backend.store(key, {"worker": worker, "i": i}, {"worker": worker})
            assert result["success"], result
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres_url", "mariadb_url"])
def test_eight_writer_processes_lose_nothing(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The issue's data safety: eight processes start on an empty database and race for the same keys."""
    url = f"sqlite:///{tmp_path}/f.db" if database == "sqlite" else request.getfixturevalue(database)
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, f"w{n}", "25"], stderr=subprocess.PIPE)
        for n in range(8)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    with SQLAlchemyBackend(url) as backend:
        found = {key for key, _, _ in backend.iterate_all()}
        assert found == {f"w{n}-{i}" for n in range(8) for i in range(25)} | {
            f"shared-{i}" for i in range(25)
        }
