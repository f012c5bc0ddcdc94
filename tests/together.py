"""Starts one worker of the tests as several processes that train together, as `torchrun` would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMIT = 180  # seconds after which processes that wait for each other have failed


def start(count: int, module: str, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start `count` processes of a module, which find each other at a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared |= {"OMP_NUM_THREADS": "1", "USE_LIBUV": "0"}  # torch for Windows has no libuv
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Wait until all have ended, and end those that wait for a dead one; their exit codes and what they said."""
    end = time.monotonic() + LIMIT
    while any(process.poll() is None for process in processes):
        killed = any((process.poll() or 0) < 0 for process in processes)
        if killed or time.monotonic() > end:
            for process in processes:
                process.kill()
        time.sleep(0.05)
    return [(process.returncode, process.communicate()[0]) for process in processes]
