"""Entities on ordered levels, and which entries they own, with a closure table for queries by subtree."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from the_edge_agent.memory._availability import has_package

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session, sessionmaker

SQLALCHEMY_AVAILABLE = has_package("sqlalchemy")

T = TypeVar("T")

_TYPE_LENGTH, _ID_LENGTH = 64, 255
_FULL_LENGTH = _TYPE_LENGTH + 1 + _ID_LENGTH
_PIECE = 500


def check_hierarchy_available() -> bool:
    """Tell whether the library that ``EntityHierarchy`` needs is installed."""
    return SQLALCHEMY_AVAILABLE


class EntityHierarchy:
    """Tree of entities such as ``org`` > ``project`` > ``user`` in a SQL database.

    ``levels`` are the level names, root first; ``url`` is a SQLAlchemy URL; ``auto_migrate`` creates missing
    tables and widens narrow ones; ``lazy`` connects at the first use. An entity's full id is ``type:id``.

    Raises ``ImportError`` without SQLAlchemy and ``ValueError`` for bad levels. Operations raise
    ``ValueError`` for bad arguments, the database's error, and ``RuntimeError`` after ``close``. Safe for
    threads and processes.
    """

    def __init__(
        self,
        levels: Sequence[str],
        url: str,
        pool_size: int = 5,
        echo: bool = False,
        auto_migrate: bool = True,
        lazy: bool = False,
    ) -> None:
        if not SQLALCHEMY_AVAILABLE:
            raise ImportError(
                "SQLAlchemy is required for EntityHierarchy. Install with: pip install sqlalchemy"
            )
        self._levels = _check_levels(levels)
        self._level_index = {level: index for index, level in enumerate(self._levels)}
        self._url = url
        self._pool_size = pool_size
        self._echo = echo
        self._auto_migrate = auto_migrate
        self._lock: AbstractContextManager[Any] = threading.Lock()
        self._closed = False
        self._initialized = False
        self._engine: sa.Engine | None = None
        self._owns_engine = True
        self._session_factory: sessionmaker[Session] | None = None
        self._ltm_entity: Any = None
        self._ltm_closure: Any = None
        self._ltm_entry_owner: Any = None
        if not lazy:
            with self._lock:
                self._open()

    @classmethod
    def on_engine(
        cls, levels: Sequence[str], engine: sa.Engine, lock: AbstractContextManager[Any]
    ) -> EntityHierarchy:
        """Make a hierarchy in the database of an engine, which the caller closes, under the caller's lock.

        SQLite connections of the engine must have foreign keys on.
        """
        made = cls(levels, str(engine.url), lazy=True)
        made._owns_engine = False
        made._lock = lock
        made._engine = engine
        with made._lock:
            made._open()
        return made

    @property
    def levels(self) -> list[str]:
        """Copy of the level names, root first."""
        return list(self._levels)

    # Connection and tables

    def _open(self) -> sa.Engine:
        """Return the engine, made at first use. The caller holds the lock."""
        if self._closed:
            raise RuntimeError("EntityHierarchy is closed")
        if self._initialized and self._engine is not None:
            return self._engine
        from sqlalchemy.orm import sessionmaker

        from the_edge_agent.memory import _sql

        engine = self._engine
        if engine is None:
            engine = _sql.make_engine(self._url, self._pool_size, self._echo, foreign_keys=True)
        try:
            with engine.connect():
                pass  # The dialect knows its server (MySQL or MariaDB) only after a connection.
            self._define(engine.dialect)
            if self._auto_migrate:
                _sql.create_tables(engine, self._entities.metadata)
                self._widen(engine)
        except BaseException:
            if self._owns_engine:
                engine.dispose()
            raise
        self._engine = engine
        self._session_factory = sessionmaker(bind=engine)
        self._initialized = True
        return engine

    def _define(self, dialect: sa.Dialect) -> None:
        import sqlalchemy as sa
        from sqlalchemy.orm import registry

        from the_edge_agent.memory import _sql

        mapped = registry()
        # MySQL's primary key holds at most 768 four-byte characters in all its columns together.
        entry_length = 440 if _sql.is_mysql(dialect) else 512
        full = _sql.key_type(dialect, _FULL_LENGTH)
        options: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
        self._entities = sa.Table(
            "ltm_entities",
            mapped.metadata,
            sa.Column("id", full, primary_key=True),
            sa.Column("entity_type", _sql.key_type(dialect, _TYPE_LENGTH), nullable=False),
            sa.Column("entity_id", _sql.key_type(dialect, _ID_LENGTH), nullable=False),
            sa.Column("parent_id", full, sa.ForeignKey("ltm_entities.id", ondelete="SET NULL")),
            sa.Column("metadata", sa.JSON(), default=dict),
            sa.Column("created_at", _sql.time_type(), default=_sql.utc_now),
            sa.Column("updated_at", _sql.time_type(), default=_sql.utc_now, onupdate=_sql.utc_now),
            sa.UniqueConstraint("entity_type", "entity_id"),
            sa.Index("idx_ltm_entities_type", "entity_type"),
            sa.Index("idx_ltm_entities_parent", "parent_id"),
            **options,
        )
        owner = sa.ForeignKey("ltm_entities.id", ondelete="CASCADE")
        self._closure = sa.Table(
            "ltm_entity_closure",
            mapped.metadata,
            sa.Column("ancestor_id", full, owner, primary_key=True),
            sa.Column(
                "descendant_id", full, sa.ForeignKey("ltm_entities.id", ondelete="CASCADE"), primary_key=True
            ),
            sa.Column("depth", sa.Integer(), nullable=False),
            sa.Index("idx_ltm_closure_ancestor", "ancestor_id"),
            sa.Index("idx_ltm_closure_descendant", "descendant_id"),
            **options,
        )
        self._owners = sa.Table(
            "ltm_entry_owners",
            mapped.metadata,
            sa.Column("entry_id", _sql.key_type(dialect, entry_length), primary_key=True),
            sa.Column(
                "entity_id", full, sa.ForeignKey("ltm_entities.id", ondelete="CASCADE"), primary_key=True
            ),
            sa.Index("idx_ltm_entry_owners_entity", "entity_id"),
            **options,
        )
        self._entry_length = entry_length
        self._ltm_entity = type("LTMEntity", (), {})
        self._ltm_closure = type("LTMEntityClosure", (), {})
        self._ltm_entry_owner = type("LTMEntryOwner", (), {})
        renamed = {"metadata_": self._entities.c.metadata}
        mapped.map_imperatively(self._ltm_entity, self._entities, properties=renamed)
        mapped.map_imperatively(self._ltm_closure, self._closure)
        mapped.map_imperatively(self._ltm_entry_owner, self._owners)

    def _widen(self, engine: sa.Engine) -> None:
        """Widen the text columns of tables that an older version made, on the database that enforces them."""
        if engine.dialect.name != "postgresql":
            return
        import sqlalchemy as sa

        inspector = sa.inspect(engine)
        with engine.begin() as conn:
            for table in (self._entities, self._closure, self._owners):
                present = {column["name"]: column["type"] for column in inspector.get_columns(table.name)}
                for column in table.c:
                    wanted = getattr(column.type, "length", None)
                    length = getattr(present.get(column.name), "length", None)
                    if wanted and length and length < wanted:
                        conn.exec_driver_sql(
                            f'ALTER TABLE {table.name} ALTER COLUMN "{column.name}" TYPE VARCHAR({wanted})'
                        )

    def _get_session(self) -> Session:
        """Return a new ORM session, which the caller closes."""
        with self._lock:
            self._open()
            assert self._session_factory is not None
            return self._session_factory()

    def _write(self, work: Callable[[sa.Connection], T]) -> T:
        from the_edge_agent.memory import _sql

        with self._lock:
            return _sql.in_transaction(self._open(), work, reads_first=True)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._lock, self._open().connect() as conn:
            return work(conn)

    # Arguments

    def _make_entity_id(self, entity_type: str, entity_id: str) -> str:
        return f"{entity_type}:{entity_id}"

    def _check_type(self, entity_type: str) -> None:
        if entity_type not in self._level_index:
            raise ValueError(f"Unknown entity type: '{entity_type}'. Valid types: {self._levels}")

    def _check_id(self, entity_type: str, entity_id: Any) -> str:
        if entity_id is None:
            raise ValueError(f"The id of a '{entity_type}' entity must be a string, got None")
        text = str(entity_id)
        if len(text) > _ID_LENGTH:
            raise ValueError(
                f"The id of a '{entity_type}' entity has {len(text)} characters; at most {_ID_LENGTH} are"
                " possible"
            )
        return self._make_entity_id(entity_type, text)

    def _check_parent(self, entity_type: str, parent: tuple[str, str] | None) -> None:
        index = self._level_index[entity_type]
        if index == 0:
            if parent is not None:
                raise ValueError(f"Root level '{entity_type}' cannot have a parent")
            return
        if parent is None:
            raise ValueError(f"Non-root level '{entity_type}' requires a parent")
        expected = self._levels[index - 1]
        if parent[0] != expected:
            raise ValueError(f"Parent of '{entity_type}' must be '{expected}', got '{parent[0]}'")

    # Entities

    def register_entity(
        self,
        entity_type: str,
        entity_id: str,
        parent: tuple[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Register an entity below ``parent`` (``(type, id)``, None only for the root level); return its full
        id.

        For an entity that exists only a non-empty ``metadata`` has an effect: it replaces the stored one. The
        parent of an existing entity is not changed; see ``move_entity``.
        """
        self._check_type(entity_type)
        self._check_parent(entity_type, parent)
        self._check_id(entity_type, entity_id)
        if parent is not None:
            self._check_id(*parent)
        return self._write(lambda conn: self.register_in(conn, entity_type, entity_id, parent, metadata))

    def register_in(
        self,
        conn: sa.Connection,
        entity_type: str,
        entity_id: str,
        parent: tuple[str, str] | None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Do the work of ``register_entity``, with checked arguments, in a transaction of the caller."""
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        entities, full = self._entities, self._make_entity_id(entity_type, str(entity_id))
        if self.exists_in(conn, full):
            if metadata:
                changes = {"metadata": metadata, "updated_at": _sql.utc_now()}
                conn.execute(entities.update().where(entities.c.id == full).values(changes))
            return full
        rows = [{"ancestor_id": full, "descendant_id": full, "depth": 0}]
        parent_id = None
        if parent is not None:
            parent_id = self._make_entity_id(parent[0], str(parent[1]))
            # The lock keeps a move of the parent from running between our reads and our writes.
            if not self.exists_in(conn, parent_id, lock=True):
                raise ValueError(f"Parent entity not found: {parent_id}")
            closure = self._closure.c
            above = sa.select(closure.ancestor_id, closure.depth).where(closure.descendant_id == parent_id)
            for ancestor_id, depth in conn.execute(above):
                rows.append({"ancestor_id": ancestor_id, "descendant_id": full, "depth": depth + 1})
        now = _sql.utc_now()
        conn.execute(
            entities.insert().values(
                id=full,
                entity_type=entity_type,
                entity_id=str(entity_id),
                parent_id=parent_id,
                metadata=metadata or {},
                created_at=now,
                updated_at=now,
            )
        )
        conn.execute(self._closure.insert(), rows)
        return full

    def exists_in(self, conn: sa.Connection, full_id: str, lock: bool = False) -> bool:
        """Tell whether an entity exists, in a transaction of the caller; ``lock`` locks its row."""
        import sqlalchemy as sa

        statement = sa.select(self._entities.c.id).where(self._entities.c.id == full_id)
        return conn.execute(statement.with_for_update() if lock else statement).first() is not None

    def get_entity(self, entity_type: str, entity_id: str) -> dict[str, Any] | None:
        """Return an entity or None.

        ``{"id", "entity_type", "entity_id", "parent_id", "metadata", "created_at", "updated_at"}`` with naive
        UTC times.
        """
        import sqlalchemy as sa

        self._table_columns()
        full = self._make_entity_id(entity_type, entity_id)
        statement = sa.select(self._entities).where(self._entities.c.id == full)
        row = self._read(lambda conn: conn.execute(statement).first())
        return None if row is None else _entity(row)

    def list_entities(
        self, entity_type: str | None = None, parent: tuple[str, str] | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """Return entities of one type and/or the direct children of ``parent``, by type and id."""
        import sqlalchemy as sa

        columns = self._table_columns()
        statement = sa.select(self._entities).order_by(columns.entity_type, columns.entity_id)
        if entity_type is not None:
            statement = statement.where(columns.entity_type == entity_type)
        if parent is not None:
            statement = statement.where(columns.parent_id == self._make_entity_id(*parent))
        if limit >= 0:
            statement = statement.limit(limit)
        return self._read(lambda conn: [_entity(row) for row in conn.execute(statement)])

    def _table_columns(self) -> Any:
        with self._lock:
            self._open()
        return self._entities.c

    def get_ancestors(self, entity_type: str, entity_id: str) -> list[dict[str, Any]]:
        """Return the entities above, nearest first, with ``depth`` (1 for the parent)."""
        return self._relatives(entity_type, entity_id, up=True)

    def get_descendants(self, entity_type: str, entity_id: str) -> list[dict[str, Any]]:
        """Return all entities below, by depth, type and id, with ``depth`` (1 for a child)."""
        return self._relatives(entity_type, entity_id, up=False)

    def _relatives(self, entity_type: str, entity_id: str, up: bool) -> list[dict[str, Any]]:
        import sqlalchemy as sa

        full = self._make_entity_id(entity_type, entity_id)
        e = self._table_columns()
        c = self._closure.c
        here, there = (c.descendant_id, c.ancestor_id) if up else (c.ancestor_id, c.descendant_id)
        statement = (
            sa.select(*self._entities.c, c.depth)
            .join_from(self._closure, self._entities, e.id == there)
            .where(here == full, c.depth > 0)
            .order_by(c.depth, e.entity_type, e.entity_id)
        )

        def work(conn: sa.Connection) -> list[dict[str, Any]]:
            rows = conn.execute(statement)
            if conn.dialect.name == "sqlite":
                # The driver's own rows: subtrees are large, and SQLAlchemy's row objects and column types
                # would cost as much as the query itself.
                return _relatives_from_text(rows.cursor)
            return _relatives_of(rows)

        return self._read(work)

    def ancestors_in(self, conn: sa.Connection, full_id: str) -> list[str]:
        """Return the full ids above an entity, nearest first, in a transaction of the caller."""
        import sqlalchemy as sa

        c = self._closure.c
        above = sa.select(c.ancestor_id).where(c.descendant_id == full_id, c.depth > 0).order_by(c.depth)
        return list(conn.execute(above).scalars())

    # Ownership of entries

    def associate_entry(self, entry_key: str, entity_type: str, entity_id: str) -> bool:
        """Make the entity an owner of the entry; return True, also when it was one before.

        Raises ``ValueError`` for an unknown entity or a key that is too long. Whether the entry exists is not
        checked.
        """
        full = self._make_entity_id(entity_type, entity_id)

        def work(conn: sa.Connection) -> bool:
            if not self.exists_in(conn, full):
                raise ValueError(f"Entity not found: {full}")
            self.associate_in(conn, entry_key, full)
            return True

        return self._write(work)

    def associate_in(self, conn: sa.Connection, entry_key: str, full_id: str) -> None:
        """Add an ownership row for an entity that exists, in a transaction of the caller."""
        import sqlalchemy as sa

        if len(entry_key) > self._entry_length:
            raise ValueError(
                f"The key has {len(entry_key)} characters; an entry of an entity can have at most"
                f" {self._entry_length}"
            )
        o = self._owners.c
        present = sa.select(o.entry_id).where(o.entry_id == entry_key, o.entity_id == full_id)
        if conn.execute(present).first() is None:
            conn.execute(self._owners.insert().values(entry_id=entry_key, entity_id=full_id))

    def disassociate_entry(
        self, entry_key: str, entity_type: str | None = None, entity_id: str | None = None
    ) -> int:
        """Remove one ownership of the entry, or all of them without an entity; return how many went."""
        full = None
        if entity_type is not None:
            full = self._make_entity_id(entity_type, str(entity_id))
        return self._write(lambda conn: self.disassociate_in(conn, entry_key, full))

    def disassociate_in(self, conn: sa.Connection, entry_key: str, full_id: str | None = None) -> int:
        """Do the work of ``disassociate_entry`` in a transaction of the caller."""
        statement = self._owners.delete().where(self._owners.c.entry_id == entry_key)
        if full_id is not None:
            statement = statement.where(self._owners.c.entity_id == full_id)
        return int(conn.execute(statement).rowcount)

    def get_entries_for_entity(
        self,
        entity_type: str,
        entity_id: str,
        include_descendants: bool = True,
        limit: int = 1000,
        offset: int = 0,
    ) -> dict[str, Any]:
        """Return one page of the entries that the entity, or anything below it, owns, by entry key.

        ``{"entries": [{"entry_id", "entity_id"}], "total_count": int, "has_more": bool}``. An entry with
        several owners comes once, with the deepest of them.
        """
        import sqlalchemy as sa

        full = self._make_entity_id(entity_type, entity_id)
        self._table_columns()
        o, c = self._owners.c, self._closure.c
        owned = sa.select(o.entry_id, o.entity_id, c.depth).join_from(
            self._owners, self._closure, c.descendant_id == o.entity_id
        )
        owned = owned.where(c.ancestor_id == full)
        if not include_descendants:
            owned = owned.where(c.depth == 0)
        order = sa.func.row_number().over(partition_by=o.entry_id, order_by=(c.depth.desc(), o.entity_id))
        ranked = owned.add_columns(order.label("place")).subquery()
        page = sa.select(ranked.c.entry_id, ranked.c.entity_id).where(ranked.c.place == 1)
        page = page.order_by(ranked.c.entry_id).limit(limit).offset(offset)
        plain = owned.subquery()
        count = sa.select(sa.func.count(sa.distinct(plain.c.entry_id)))

        def work(conn: sa.Connection) -> tuple[Any, int]:
            return conn.execute(page).all(), int(conn.execute(count).scalar_one())

        rows, total = self._read(work)
        return {
            "entries": [{"entry_id": row[0], "entity_id": row[1]} for row in rows],
            "total_count": total,
            "has_more": offset + len(rows) < total,
        }

    # Changes of the tree

    def delete_entity(self, entity_type: str, entity_id: str, cascade: bool = False) -> bool:
        """Delete an entity and its ownerships; return whether it existed.

        With ``cascade`` everything below goes too. Without it the children become roots of their subtrees
        (``parent_id`` None) until ``move_entity`` attaches them again.
        """
        full = self._make_entity_id(entity_type, entity_id)

        def work(conn: sa.Connection) -> bool:
            if not self.exists_in(conn, full, lock=True):
                return False
            subtree = self._locked_subtree(conn, full)
            if cascade:
                self._delete_rows(conn, subtree)
                return True
            above = [full, *self.ancestors_in(conn, full)]
            self._detach(conn, above, [member for member in subtree if member != full])
            children = self._entities.update().where(self._entities.c.parent_id == full)
            conn.execute(children.values(parent_id=None))
            self._delete_rows(conn, [full])
            return True

        return self._write(work)

    def _locked_subtree(self, conn: sa.Connection, full_id: str) -> list[str]:
        """Return the full ids of an entity and all below it, the deepest first, with their rows locked.

        Rows that another process adds below before we hold its parent's lock are found in the next round.
        """
        import sqlalchemy as sa

        c = self._closure.c
        below = sa.select(c.descendant_id).where(c.ancestor_id == full_id).order_by(c.depth.desc())
        members: list[str] = []
        while True:
            found = list(conn.execute(below).scalars())
            if len(found) == len(members) or conn.dialect.name == "sqlite":
                return found
            for piece in _pieces(found):
                lock = sa.select(self._entities.c.id).where(self._entities.c.id.in_(piece))
                conn.execute(lock.order_by(self._entities.c.id).with_for_update()).all()
            members = found

    def _detach(self, conn: sa.Connection, ancestors: list[str], members: list[str]) -> None:
        closure = self._closure
        for piece in _pieces(members):
            conn.execute(
                closure.delete().where(
                    closure.c.ancestor_id.in_(ancestors), closure.c.descendant_id.in_(piece)
                )
            )

    def _delete_rows(self, conn: sa.Connection, members: list[str]) -> None:
        for piece in _pieces(members):
            conn.execute(self._owners.delete().where(self._owners.c.entity_id.in_(piece)))
            conn.execute(self._closure.delete().where(self._closure.c.descendant_id.in_(piece)))
            conn.execute(self._closure.delete().where(self._closure.c.ancestor_id.in_(piece)))
            conn.execute(self._entities.delete().where(self._entities.c.id.in_(piece)))

    def move_entity(self, entity_type: str, entity_id: str, new_parent: tuple[str, str]) -> bool:
        """Attach an entity with its whole subtree to another parent one level above it; return True."""
        self._check_type(entity_type)
        if self._level_index[entity_type] == 0:
            raise ValueError(f"Root-level entity '{entity_type}' cannot be moved")
        self._check_parent(entity_type, new_parent)
        full, parent_id = self._make_entity_id(entity_type, entity_id), self._make_entity_id(*new_parent)

        def work(conn: sa.Connection) -> bool:
            import sqlalchemy as sa

            from the_edge_agent.memory import _sql

            e, c = self._entities.c, self._closure
            present = conn.execute(sa.select(e.parent_id).where(e.id == full).with_for_update()).first()
            if present is None:
                raise ValueError(f"Entity not found: {full}")
            if not self.exists_in(conn, parent_id, lock=True):
                raise ValueError(f"New parent not found: {parent_id}")
            if present[0] == parent_id:
                return True
            subtree = self._locked_subtree(conn, full)
            self._detach(conn, self.ancestors_in(conn, full), subtree)
            above, below = c.alias("above"), c.alias("below")
            depth = above.c.depth + below.c.depth + 1
            pairs = (
                sa.select(above.c.ancestor_id, below.c.descendant_id, depth)
                .join_from(above, below, sa.true())
                .where(above.c.descendant_id == parent_id, below.c.ancestor_id == full)
            )
            conn.execute(c.insert().from_select(["ancestor_id", "descendant_id", "depth"], pairs))
            changes = {"parent_id": parent_id, "updated_at": _sql.utc_now()}
            conn.execute(self._entities.update().where(e.id == full).values(changes))
            return True

        return self._write(work)

    # Life cycle

    def close(self) -> None:
        """Release the connections. Later operations raise ``RuntimeError``."""
        with self._lock:
            self._closed = True
            self._initialized = False
            if self._engine is not None and self._owns_engine:
                self._engine.dispose()
            self._engine = None
            self._session_factory = None

    def __enter__(self) -> EntityHierarchy:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False


def _check_levels(levels: Sequence[str]) -> list[str]:
    names = list(levels)
    if not names:
        raise ValueError("Levels list cannot be empty")
    if len(set(names)) != len(names):
        raise ValueError("Levels list cannot contain duplicates")
    for name in names:
        if not isinstance(name, str) or not name or ":" in name or len(name) > _TYPE_LENGTH:
            raise ValueError(
                f"Level name {name!r} must be a string of 1 to {_TYPE_LENGTH} characters without ':'"
            )
    return names


def _pieces(items: list[str]) -> list[list[str]]:
    return [items[start : start + _PIECE] for start in range(0, len(items), _PIECE)]


_NAMES = ("id", "entity_type", "entity_id", "parent_id", "metadata", "created_at", "updated_at")


def _entity(row: Any) -> dict[str, Any]:
    entity = dict(zip(_NAMES, row, strict=False))
    entity["metadata"] = entity["metadata"] or {}
    return entity


def _relatives_of(rows: Any) -> list[dict[str, Any]]:
    """Build the dictionaries of a subtree from rows with decoded columns."""
    return [{**_entity(row), "depth": row[7]} for row in rows]


def _relatives_from_text(rows: Any) -> list[dict[str, Any]]:
    """Do the same from SQLite's own rows, whose JSON and times are text."""
    load, moment = json.loads, datetime.fromisoformat
    # Building many dictionaries would start one useless collection after the other.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return [
            {
                "id": full,
                "entity_type": kind,
                "entity_id": name,
                "parent_id": parent,
                "metadata": load(metadata) or {} if metadata and metadata != "{}" else {},
                "created_at": moment(created) if created else None,
                "updated_at": moment(updated) if updated else None,
                "depth": depth,
            }
            for full, kind, name, parent, metadata, created, updated, depth in rows
        ]
    finally:
        if collecting:
            gc.enable()
