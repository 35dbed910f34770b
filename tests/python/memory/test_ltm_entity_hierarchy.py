"""The entity hierarchy on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from the_edge_agent.memory import EntityHierarchy, check_hierarchy_available
from the_edge_agent.memory import entity_hierarchy as module

LEVELS = ["org", "project", "user", "session"]


@pytest.fixture
def tree(sql_url: str) -> Iterator[EntityHierarchy]:
    with EntityHierarchy(LEVELS, sql_url) as made:
        yield made


@pytest.fixture
def small() -> Iterator[EntityHierarchy]:
    with EntityHierarchy(LEVELS, "sqlite://") as made:
        yield made


def plant(tree: EntityHierarchy) -> None:
    """acme: alpha (ann: s1, s2; bob), beta; other: gamma (cid)."""
    for kind, name, parent in [
        ("org", "acme", None),
        ("org", "other", None),
        ("project", "alpha", ("org", "acme")),
        ("project", "beta", ("org", "acme")),
        ("project", "gamma", ("org", "other")),
        ("user", "ann", ("project", "alpha")),
        ("user", "bob", ("project", "alpha")),
        ("user", "cid", ("project", "gamma")),
        ("session", "s1", ("user", "ann")),
        ("session", "s2", ("user", "ann")),
    ]:
        assert tree.register_entity(kind, name, parent) == f"{kind}:{name}"


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def closure(tree: EntityHierarchy) -> set[tuple[str, str, int]]:
    session = tree._get_session()
    rows = session.query(tree._ltm_closure).all()
    found = {(row.ancestor_id, row.descendant_id, row.depth) for row in rows}
    session.close()
    return found


def check_invariant(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-7: the closure table is exactly what the parent links say."""
    parents = {e["id"]: e["parent_id"] for e in tree.list_entities(limit=-1)}
    expected = set()
    for entity in parents:
        depth, above = 0, entity
        while above is not None:
            expected.add((above, entity, depth))
            depth, above = depth + 1, parents[above]
    assert closure(tree) == expected


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ([], "^Levels list cannot be empty$"),
        (["a", "a"], "^Levels list cannot contain duplicates$"),
        (["a:b"], "without ':'"),
        ([""], "must be a string of 1 to 64"),
    ],
)
def test_bad_levels(levels: list[str], text: str) -> None:
    """entity-hierarchy/EH-2, quirk 8"""
    with pytest.raises(ValueError, match=text):
        EntityHierarchy(levels, "sqlite:////no/such/directory/x.db")


def test_levels_are_copies() -> None:
    """entity-hierarchy/EH-3, section 6"""
    given = ["a", "b"]
    tree = EntityHierarchy(given, "sqlite://", lazy=True)
    given.append("c")
    tree.levels.append("d")
    assert tree.levels == ["a", "b"] and tree._level_index == {"a": 0, "b": 1}
    assert tree._initialized is False and tree._ltm_entity is None
    assert tree._make_entity_id("a", "x") == "a:x"
    assert tree.get_entity("a", "x") is None and tree._initialized is True


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """entity-hierarchy/EH-1"""
    assert check_hierarchy_available() is True
    monkeypatch.setattr(module, "SQLALCHEMY_AVAILABLE", False)
    assert check_hierarchy_available() is False
    with pytest.raises(ImportError, match=r"^SQLAlchemy is required for EntityHierarchy\..*pip install"):
        EntityHierarchy(["a"], "sqlite://")


def test_register_validation(small: EntityHierarchy) -> None:
    """entity-hierarchy/EH-8, EH-9, EH-11, quirk 9"""
    register = small.register_entity
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("team", "x"), f"Unknown entity type: 'team'. Valid types: {LEVELS}"),
        (("org", "x", ("org", "y")), "Root level 'org' cannot have a parent"),
        (("user", "x"), "Non-root level 'user' requires a parent"),
        (("user", "x", ("org", "y")), "Parent of 'user' must be 'project', got 'org'"),
        (("project", "x", ("org", "nope")), "Parent entity not found: org:nope"),
        (("org", None), "The id of a 'org' entity must be a string, got None"),
        (("org", "x" * 256), "The id of a 'org' entity has 256 characters; at most 255 are possible"),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError) as caught:
            register(*arguments)
        assert str(caught.value) == text
    assert small.list_entities() == []
    assert register("org", "") == "org:"


def test_register_and_get(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-9, EH-10, EH-12"""
    plant(tree)
    check_invariant(tree)
    entity = tree.get_entity("user", "ann")
    assert entity is not None
    assert set(entity) == {
        "id",
        "entity_type",
        "entity_id",
        "parent_id",
        "metadata",
        "created_at",
        "updated_at",
    }
    assert entity["parent_id"] == "project:alpha" and entity["metadata"] == {}
    assert isinstance(entity["created_at"], datetime) and entity["created_at"].tzinfo is None
    assert tree.get_entity("user", "nobody") is None and tree.get_entity("zzz", "x") is None

    tree.register_entity("user", "ann", ("project", "alpha"), {"a": 1, "b": 2})
    tree.register_entity("user", "ann", ("project", "does-not-exist"), {"c": 3})
    tree.register_entity("user", "ann", ("project", "beta"))
    tree.register_entity("user", "ann", ("project", "beta"), {})
    after = tree.get_entity("user", "ann")
    assert after is not None and after["metadata"] == {"c": 3} and after["parent_id"] == "project:alpha"
    assert after["updated_at"] > entity["updated_at"] and after["created_at"] == entity["created_at"]
    check_invariant(tree)


def test_ids_compare_exactly(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-8: ids that differ in case, ids with colons and odd ones, are distinct."""
    names = ["a", "A", "a ", "b:c", "é", 'it\'s "x" %_\\', "x" * 255]
    for name in names:
        tree.register_entity("org", name)
    assert {entity["entity_id"] for entity in tree.list_entities()} == set(names)
    assert tree.get_entity("org", "x" * 255) is not None


def test_list(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-13"""
    plant(tree)
    assert ids(tree.list_entities("project")) == ["project:alpha", "project:beta", "project:gamma"]
    assert ids(tree.list_entities(parent=("org", "acme"))) == ["project:alpha", "project:beta"]
    assert ids(tree.list_entities("user", ("project", "alpha"))) == ["user:ann", "user:bob"]
    assert tree.list_entities("user", ("org", "acme")) == [] == tree.list_entities("zzz")
    assert ids(tree.list_entities(limit=3)) == ["org:acme", "org:other", "project:alpha"]


def test_relatives(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-14, EH-15: metadata and times are complete on every database."""
    plant(tree)
    tree.register_entity("project", "alpha", ("org", "acme"), {"k": [1, "é"]})
    above = tree.get_ancestors("session", "s1")
    assert [(row["id"], row["depth"]) for row in above] == [
        ("user:ann", 1),
        ("project:alpha", 2),
        ("org:acme", 3),
    ]
    below = tree.get_descendants("org", "acme")
    assert [(row["id"], row["depth"]) for row in below] == [
        ("project:alpha", 1),
        ("project:beta", 1),
        ("user:ann", 2),
        ("user:bob", 2),
        ("session:s1", 3),
        ("session:s2", 3),
    ]
    for row in (above[1], below[0]):
        depth = row.pop("depth")
        assert depth in (1, 2) and row == tree.get_entity("project", "alpha")
        assert row["metadata"] == {"k": [1, "é"]} and isinstance(row["created_at"], datetime)
    assert tree.get_ancestors("org", "acme") == [] == tree.get_descendants("session", "s1")
    assert tree.get_ancestors("org", "nope") == [] == tree.get_descendants("zzz", "x")


def entries(tree: EntityHierarchy, *arguments: Any, **more: Any) -> list[tuple[str, str]]:
    page = tree.get_entries_for_entity(*arguments, **more)
    assert set(page) == {"entries", "total_count", "has_more"}
    return [(row["entry_id"], row["entity_id"]) for row in page["entries"]]


def test_entries(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-16, EH-17, EH-20, EH-22"""
    plant(tree)
    long_key = "k" * 400
    for key, kind, name in [("e1", "session", "s1"), ("e2", "user", "ann"), ("e3", "org", "acme")]:
        assert tree.associate_entry(key, kind, name) is True
        assert tree.associate_entry(key, kind, name) is True
    tree.associate_entry("e1", "org", "acme")
    tree.associate_entry(long_key, "user", "cid")
    assert entries(tree, "org", "acme") == [("e1", "session:s1"), ("e2", "user:ann"), ("e3", "org:acme")]
    assert tree.get_entries_for_entity("org", "acme")["total_count"] == 3
    assert entries(tree, "org", "acme", include_descendants=False) == [("e1", "org:acme"), ("e3", "org:acme")]
    assert entries(tree, "project", "alpha") == [("e1", "session:s1"), ("e2", "user:ann")]
    assert entries(tree, "org", "other") == [(long_key, "user:cid")]
    assert tree.get_entries_for_entity("org", "nope") == {"entries": [], "total_count": 0, "has_more": False}
    with pytest.raises(ValueError, match=r"^Entity not found: user:nobody$"):
        tree.associate_entry("e1", "user", "nobody")
    with pytest.raises(ValueError, match=r"at most"):
        tree.associate_entry("k" * 600, "user", "ann")
    assert tree.disassociate_entry("e1", "org", "acme") == 1
    assert tree.disassociate_entry("e1") == 1 and tree.disassociate_entry("e1") == 0
    assert entries(tree, "org", "acme") == [("e2", "user:ann"), ("e3", "org:acme")]


def test_pages(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-21"""
    plant(tree)
    for i in range(10):
        tree.associate_entry(f"e{i}", "user", "ann")
    pages = [tree.get_entries_for_entity("org", "acme", limit=3, offset=n) for n in (0, 3, 9)]
    assert [(len(p["entries"]), p["has_more"], p["total_count"]) for p in pages] == [
        (3, True, 10),
        (3, True, 10),
        (1, False, 10),
    ]
    assert [row["entry_id"] for row in pages[1]["entries"]] == ["e3", "e4", "e5"]


def test_delete_cascade(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-23, EH-24"""
    plant(tree)
    tree.associate_entry("e1", "session", "s1")
    assert tree.delete_entity("org", "nope") is False
    assert tree.delete_entity("org", "acme", cascade=True) is True
    assert ids(tree.list_entities()) == ["org:other", "project:gamma", "user:cid"]
    check_invariant(tree)
    assert tree.delete_entity("org", "other", cascade=True)
    session = tree._get_session()
    for model in (tree._ltm_entity, tree._ltm_closure, tree._ltm_entry_owner):
        assert session.query(model).count() == 0
    session.close()


def test_delete_detaches_the_children(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-25, quirk 5"""
    plant(tree)
    for key, kind, name in [("e1", "session", "s1"), ("e2", "project", "alpha")]:
        tree.associate_entry(key, kind, name)
    assert tree.delete_entity("project", "alpha")
    for name in ("ann", "bob"):
        entity = tree.get_entity("user", name)
        assert entity is not None and entity["parent_id"] is None
    assert tree.get_ancestors("session", "s1") == tree.get_ancestors("session", "s2")
    assert ids(tree.get_ancestors("session", "s1")) == ["user:ann"]
    assert ids(tree.get_descendants("org", "acme")) == ["project:beta"]
    assert entries(tree, "org", "acme") == [] and entries(tree, "user", "ann") == [("e1", "session:s1")]
    check_invariant(tree)
    assert tree.move_entity("user", "ann", ("project", "beta"))
    assert ids(tree.get_ancestors("session", "s1")) == ["user:ann", "project:beta", "org:acme"]
    check_invariant(tree)


def test_move(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-26, EH-27, EH-28"""
    plant(tree)
    tree.associate_entry("e1", "session", "s1")
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("zzz", "x", ("org", "acme")), f"Unknown entity type: 'zzz'. Valid types: {LEVELS}"),
        (("org", "acme", ("org", "other")), "Root-level entity 'org' cannot be moved"),
        (("user", "ann", ("org", "acme")), "Parent of 'user' must be 'project', got 'org'"),
        (("user", "nobody", ("project", "beta")), "Entity not found: user:nobody"),
        (("user", "ann", ("project", "nope")), "New parent not found: project:nope"),
    ]
    for arguments, text in cases:
        with pytest.raises(ValueError) as caught:
            tree.move_entity(*arguments)
        assert str(caught.value) == text
    before = tree.get_entity("user", "ann")
    assert tree.move_entity("user", "ann", ("project", "alpha")) is True
    assert tree.get_entity("user", "ann") == before
    assert tree.move_entity("project", "alpha", ("org", "other")) is True
    check_invariant(tree)
    assert ids(tree.get_ancestors("session", "s1")) == ["user:ann", "project:alpha", "org:other"]
    assert entries(tree, "org", "other") == [("e1", "session:s1")] and entries(tree, "org", "acme") == []


def test_orm_models(small: EntityHierarchy) -> None:
    """Section 6"""
    small.register_entity("org", "a", metadata={"x": 1})
    session = small._get_session()
    row = session.query(small._ltm_entity).filter_by(entity_type="org").one()
    assert row.metadata_ == {"x": 1} and row.id == "org:a"
    assert (
        session.query(small._ltm_closure).filter_by(ancestor_id="org:a", descendant_id="org:a").count() == 1
    )
    session.close()


def test_schema(tree: EntityHierarchy) -> None:
    """Section 4, EH-17"""
    assert tree._engine is not None
    inspector = sa.inspect(tree._engine)
    names = {t: [c["name"] for c in inspector.get_columns(t)] for t in inspector.get_table_names()}
    assert names["ltm_entity_closure"] == ["ancestor_id", "descendant_id", "depth"]
    assert names["ltm_entry_owners"] == ["entry_id", "entity_id"]
    indexes = {i["name"] for t in names for i in inspector.get_indexes(t)}
    assert {
        "idx_ltm_entities_type",
        "idx_ltm_entities_parent",
        "idx_ltm_closure_ancestor",
        "idx_ltm_closure_descendant",
        "idx_ltm_entry_owners_entity",
    } <= indexes


def test_narrow_tables_are_widened(postgres_url: str) -> None:
    """entity-hierarchy/EH-17, quirks 3 and 9: tables of an older version take long keys."""
    EntityHierarchy(LEVELS, postgres_url).close()
    engine = sa.create_engine(postgres_url)
    with engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE ltm_entry_owners ALTER COLUMN entry_id TYPE VARCHAR(64)")
    with EntityHierarchy(LEVELS, postgres_url) as tree:
        tree.register_entity("org", "x" * 200)
        assert tree.associate_entry("k" * 500, "org", "x" * 200)
    engine.dispose()


def test_without_migration(tmp_path: Path) -> None:
    """entity-hierarchy/EH-5"""
    tree = EntityHierarchy(LEVELS, f"sqlite:///{tmp_path}/f.db", auto_migrate=False)
    with pytest.raises(sa.exc.OperationalError):
        tree.register_entity("org", "x")


def test_close(tree: EntityHierarchy) -> None:
    """entity-hierarchy/EH-6, quirk 7"""
    with pytest.raises(KeyError), tree as same:
        assert same is tree
        raise KeyError("x")
    assert tree._initialized is False
    tree.close()
    with pytest.raises(RuntimeError, match=r"EntityHierarchy is closed"):
        tree.get_entity("org", "x")
    with pytest.raises(RuntimeError, match=r"EntityHierarchy is closed"):
        tree.register_entity("org", "x")


def test_threads(tree: EntityHierarchy) -> None:
    """Section 5: six threads register the same entities."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            tree.register_entity("org", "o")
            for i in range(10):
                tree.register_entity("project", f"p{i}", ("org", "o"))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and len(tree.list_entities()) == 11
    check_invariant(tree)


WORKER = """
import random, sys
from the_edge_agent.memory import EntityHierarchy
url, worker = sys.argv[1], int(sys.argv[2])
random.seed(worker)
with EntityHierarchy(["org", "project", "user", "session"], url, pool_size=1) as tree:
    for name in ("a", "b"):
        tree.register_entity("org", name)
    for i in range(4):
        tree.register_entity("project", f"p{i}", ("org", random.choice("ab")))
    for i in range(12):
        tree.register_entity("user", f"u{i}", ("project", f"p{random.randrange(4)}"))
        tree.register_entity("session", f"s{worker}-{i}", ("user", f"u{i}"))
        if i % 3 == 0:
            tree.move_entity("project", f"p{random.randrange(4)}", ("org", random.choice("ab")))
        if i % 4 == 0:
            tree.move_entity("user", f"u{random.randrange(i + 1)}", ("project", f"p{random.randrange(4)}"))
        tree.associate_entry(f"e{worker}-{i}", "session", f"s{worker}-{i}")
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres_url", "mariadb_url"])
def test_processes_register_and_move(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """entity-hierarchy/EH-11, EH-29, quirk 6: concurrent registrations and moves keep the closure exact."""
    url = f"sqlite:///{tmp_path}/f.db" if database == "sqlite" else request.getfixturevalue(database)
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER, url, str(n)], stderr=subprocess.PIPE)
        for n in range(6)
    ]
    errors = [process.communicate()[1].decode()[-2000:] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors
    with EntityHierarchy(LEVELS, url) as tree:
        assert len(tree.list_entities("session", limit=-1)) == 72
        check_invariant(tree)
        total = sum(tree.get_entries_for_entity("org", name)["total_count"] for name in "ab")
        assert total == 72
