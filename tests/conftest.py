from __future__ import annotations

import logging

import pytest
import torch


@pytest.fixture(autouse=True)
def _quiet_and_seeded():
    """Every test starts from the same generator, and leaves the package's logger as it found it."""
    torch.manual_seed(0)
    logger = logging.getLogger("energy_flow")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in logger.handlers[:]:
        if handler not in handlers:
            logger.removeHandler(handler)
            handler.close()
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
