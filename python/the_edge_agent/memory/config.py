"""From ``settings.ltm`` of an agent document to a backend object."""

from __future__ import annotations

import os
import re
from typing import Any

from the_edge_agent.memory.base import create_ltm_backend, get_backend_class

_REFERENCE = re.compile(r"\$\{([^}:]+)(?::-([^}]*))?\}")

_KEYWORDS = {
    "ltm_path": "db_path",
    "ltm_url": "url",
    "ltm_auth_token": "auth_token",
    "ltm_account_id": "account_id",
    "ltm_database_id": "database_id",
    "ltm_api_token": "api_token",
    "ltm_collection": "collection",
    "ltm_blob_uri": "blob_uri",
    "ltm_lock_backend": "lock_backend",
    "ltm_lock_ttl": "lock_ttl",
    "litestream_replica": "replica_url",
    "catalog": "catalog_config",
    "inline_threshold": "inline_threshold",
    "enable_fts": "enable_fts",
    "lazy": "lazy",
    "pool_size": "pool_size",
    "echo": "echo",
}

# The short names that the guides use. They apply only to the backends whose constructor has the keyword, and
# the long name wins when both are given.
_FILE_BACKENDS = frozenset({"sqlite", "litestream"})
_URL_BACKENDS = frozenset({"sqlalchemy", "postgres", "turso"})
_FLAT_HIERARCHICAL = (
    "catalog_url",
    "storage_uri",
    "hierarchy_levels",
    "hierarchy_defaults",
    "index_config",
    "performance_config",
    "cache_path",
)
_DEFAULT_STORAGE = "./ltm_data/"
_DEFAULT_CATALOG = "./ltm_catalog.db"


def expand_env_vars(value: Any) -> Any:
    """Replace ``${NAME}`` and ``${NAME:-default}`` in strings, through dicts and lists.

    An unset variable without a default gives the empty string; a variable set to "" stays "". Returns new
    containers; other types are returned unchanged.
    """
    if isinstance(value, str):
        if "${" not in value:
            return value
        return _REFERENCE.sub(lambda m: os.environ.get(m.group(1), m.group(2) or ""), value)
    if isinstance(value, dict):
        return {key: expand_env_vars(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expand_env_vars(item) for item in value]
    return value


def expand_ltm_config(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the expanded ``ltm`` mapping of ``settings`` with ``backend`` set (``sqlite`` by default).

    ``ducklake`` becomes ``duckdb`` with a SQLite catalog and a local directory for whatever was left out. The
    input is not changed.
    """
    config = expand_env_vars(settings.get("ltm"))
    if not isinstance(config, dict):
        return {"backend": "sqlite"}
    config["backend"] = config.get("backend") or "sqlite"
    if str(config["backend"]).lower() == "ducklake":
        config["backend"] = "duckdb"
        _fill_ducklake(config)
    return config


def _fill_ducklake(config: dict[str, Any]) -> None:
    catalog = config.get("catalog")
    catalog = dict(catalog) if isinstance(catalog, dict) else {}
    catalog.setdefault("type", "sqlite")
    catalog.setdefault("path", _DEFAULT_CATALOG)
    config["catalog"] = catalog
    storage = config.get("storage")
    if isinstance(storage, dict) and storage:
        storage.setdefault("uri", _DEFAULT_STORAGE)
    elif not storage:
        config["storage"] = {"uri": _DEFAULT_STORAGE}
    config.setdefault("lazy", True)
    config.setdefault("inline_threshold", 4096)


def parse_backend_config(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Split a flat mapping with ``ltm_backend`` into ``(backend type, constructor keywords)``.

    Keys that are absent produce no keyword; keys that are present are passed even when None. ``path`` and
    ``db_path`` (file backends), ``url`` (URL backends) and the flat constructor keywords of ``hierarchical``
    are accepted beside their ``ltm_`` names.
    """
    backend = config.get("ltm_backend", "sqlite")
    kind = str(backend).lower()
    kwargs = {keyword: config[key] for key, keyword in _KEYWORDS.items() if key in config}
    if "storage" in config:
        storage = config["storage"]
        kwargs["storage_uri"] = storage.get("uri", _DEFAULT_STORAGE) if isinstance(storage, dict) else storage
    if kind in _FILE_BACKENDS:
        for key in ("db_path", "path"):
            if key in config:
                kwargs.setdefault("db_path", config[key])
    if kind in _URL_BACKENDS and "url" in config:
        kwargs.setdefault("url", config["url"])
    if kind == "sqlalchemy" and "table_name" in config:
        kwargs["table_name"] = config["table_name"]
    if kind == "hierarchical":
        kwargs.update({key: config[key] for key in _FLAT_HIERARCHICAL if key in config})
    return backend, kwargs


def _is_hierarchical_nested_config(config: dict[str, Any]) -> bool:
    """Tell the nested form (``catalog``/``storage``/``hierarchy`` blocks) from flat constructor keywords."""
    nested = any(key in config for key in ("catalog", "storage", "hierarchy"))
    return nested and not any(key in config for key in ("catalog_url", "storage_uri", "hierarchy_levels"))


def _block(config: dict[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _parse_hierarchical_ltm_config(config: dict[str, Any]) -> dict[str, Any]:
    """Turn the nested form into constructor keywords of ``HierarchicalLTMBackend``.

    Raises ``ValueError`` when the catalog URL, the storage URI or the levels are missing.
    """
    catalog, hierarchy = _block(config, "catalog"), _block(config, "hierarchy")
    storage = config.get("storage")
    storage_uri = storage if isinstance(storage, str) else _block(config, "storage").get("uri")
    if not catalog.get("url"):
        raise ValueError("HierarchicalLTMBackend requires 'catalog.url' in YAML config")
    if not storage_uri:
        raise ValueError("HierarchicalLTMBackend requires 'storage.uri' in YAML config")
    if not hierarchy.get("levels"):
        raise ValueError("HierarchicalLTMBackend requires non-empty 'hierarchy.levels' list")
    kwargs: dict[str, Any] = {
        "catalog_url": catalog["url"],
        "storage_uri": storage_uri,
        "hierarchy_levels": list(hierarchy["levels"]),
        "hierarchy_defaults": hierarchy.get("defaults") or {},
        "pool_size": catalog.get("pool_size", 10),
        "lazy": catalog.get("lazy", False),
        "inline_threshold": config.get("inline_threshold", 1024),
        "cache_path": config.get("cache_path", "_cache/"),
    }
    index = _block(config, "index")
    if index:
        kwargs["index_config"] = {
            "format": index.get("format", "parquet"),
            "row_group_size": index.get("row_group_size", 122880),
            "compression": index.get("compression", "zstd"),
        }
    performance = _block(config, "performance")
    if performance:
        kwargs["performance_config"] = {
            "metadata_cache_ttl": _block(performance, "metadata_cache").get("ttl_seconds", 600),
            "threads": _block(performance, "parallel_reads").get("threads", 8),
        }
    return kwargs


def ltm_keywords(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return ``(backend type, constructor keywords)`` for the ``ltm`` mapping of ``settings``.

    The type is the name after alias expansion, in the letter case given. Raises ``ValueError`` as the nested
    hierarchical form does.
    """
    config = expand_ltm_config(settings)
    backend = config.pop("backend")
    if str(backend).lower() == "hierarchical" and _is_hierarchical_nested_config(config):
        return backend, _parse_hierarchical_ltm_config(config)
    _, kwargs = parse_backend_config({**config, "ltm_backend": backend})
    if str(backend).lower() == "duckdb" and "catalog_config" not in kwargs:
        filled: dict[str, Any] = {}
        _fill_ducklake(filled)
        kwargs["catalog_config"] = filled["catalog"]
        kwargs.setdefault("storage_uri", _DEFAULT_STORAGE)
        kwargs.setdefault("lazy", filled["lazy"])
        kwargs.setdefault("inline_threshold", filled["inline_threshold"])
    return backend, _accepted(backend, kwargs)


def _accepted(backend: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Drop, with a warning, the keywords that the backend's constructor does not have."""
    cls = get_backend_class(backend)
    if cls is None:
        return kwargs
    import inspect

    parameters = inspect.signature(cls).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return kwargs
    unknown = [name for name in kwargs if name not in parameters]
    if unknown:
        import logging

        logging.getLogger(__name__).warning(
            "settings.ltm: backend '%s' has no setting %s; ignored. It takes: %s",
            backend,
            ", ".join(sorted(unknown)),
            ", ".join(parameters),
        )
    return {name: value for name, value in kwargs.items() if name not in unknown}


def parse_ltm_config(settings: dict[str, Any]) -> Any:
    """Create the backend that the ``ltm`` mapping of ``settings`` describes.

    Raises what ``create_ltm_backend`` and the backend's constructor raise.
    """
    backend, kwargs = ltm_keywords(settings)
    return create_ltm_backend(backend, **kwargs)
