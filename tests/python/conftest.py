"""Fixtures of the tests of graphs and checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from support import KINDS, LOGGER


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The two run methods; a test that takes this runs once for each."""
    return request.param


@pytest.fixture(autouse=True)
def logger_level() -> Iterator[None]:
    """Each constructor sets the level of the one shared logger (SG-89); put it back after a test."""
    logger = logging.getLogger(LOGGER)
    before = logger.level
    yield
    logger.setLevel(before)
