"""Leaving where nobody reads the output any more."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

NOBODY_READS = 141  # as of a process that SIGPIPE ends


def leave_unread() -> NoReturn:
    """Leave without a word where whoever read the output, such as `head`, is gone."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(NOBODY_READS)
