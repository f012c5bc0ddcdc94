"""The memory that a container leaves its processes, as Linux's control groups say it."""

from __future__ import annotations

from pathlib import Path

GROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIMITS = ("memory.max", "memory.limit_in_bytes")  # of version 2 and version 1


def container_limit(groups: Path = GROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Bytes that this process may use at most, the least of all groups that it is in; None where there is no limit.

    Args:
        groups: where the control groups are mounted.
        membership: the file that says which ones this process is in.
    """
    limits = [limit for folder in _folders(groups, membership) if (limit := _limit_in(folder)) is not None]
    return min(limits, default=None)


def _folders(groups: Path, membership: Path) -> list[Path]:
    """The folders of this process's groups and of those around them; within a container the mount is its own group."""
    found = [groups, groups / "memory"]
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers in ("", "memory") or "memory" in controllers.split(","):
            base = groups / "memory" if controllers else groups
            parts = [part for part in Path(path).parts if part not in ("/", "..")]
            found += [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return found


def _limit_in(folder: Path) -> int | None:
    for name in LIMITS:
        try:
            return int((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such group here, or "max"
            continue
    return None
