"""Lock in a Redis server."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory.locks.base import DistributedLock

REDIS_AVAILABLE = has_package("redis")

# Each script checks and changes in one step, so that nobody else's lock is touched.
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end
"""
_REFRESH = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end
"""


class RedisLock(DistributedLock):
    """Lock between all clients of one Redis server.

    ``redis_url`` as redis-py takes it, ``key_prefix`` goes before the resource id, ``db`` is the database
    number when the URL has none. Raises ``ImportError`` without redis-py; the server is asked at the first
    operation.
    """

    def __init__(
        self,
        resource_id: str,
        ttl: float = 300,
        owner_id: str | None = None,
        redis_url: str = "redis://localhost:6379",
        key_prefix: str = "lock:",
        db: int = 0,
    ) -> None:
        if not REDIS_AVAILABLE:
            raise ImportError("redis not installed. Install with: pip install redis")
        super().__init__(resource_id, ttl, owner_id)
        self._key = f"{key_prefix}{resource_id}"
        client: Any = import_module("redis")
        self._client = client.Redis.from_url(redis_url, db=db, socket_connect_timeout=5, socket_timeout=30)

    @property
    def _milliseconds(self) -> int:
        return max(1, int(self.ttl * 1000))

    def _try_acquire(self) -> bool:
        if self._client.set(self._key, self.owner_id, nx=True, px=self._milliseconds):
            return True
        return self._try_refresh()

    def _try_refresh(self) -> bool:
        return bool(self._client.eval(_REFRESH, 1, self._key, self.owner_id, self._milliseconds))

    def _try_release(self) -> bool:
        return bool(self._client.eval(_RELEASE, 1, self._key, self.owner_id))

    def _is_ours(self) -> bool:
        return bool(self._client.get(self._key) == self.owner_id.encode("utf-8"))

    def close(self) -> None:
        """Close the connections to the server; a held lock stays until its end."""
        self._client.close()
