"""Logging, devices, small helpers."""

from .device_manager import DeviceManager, MemoryReport
from .helpers import Position3D, batch_slices, epoch_order, to_positions
from .logging import DEBUG_CONVERGENCE, DEBUG_ENERGY, DEBUG_SPAWN, log_context, logger, setup_logging

__all__ = [
    "DEBUG_CONVERGENCE",
    "DEBUG_ENERGY",
    "DEBUG_SPAWN",
    "DeviceManager",
    "MemoryReport",
    "Position3D",
    "batch_slices",
    "epoch_order",
    "log_context",
    "logger",
    "setup_logging",
    "to_positions",
]
