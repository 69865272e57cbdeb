"""Raises the limit of open files: each connection is one, and a burst reaches the usual soft limit of 1 024."""

from __future__ import annotations

import resource

#: No process of the product needs more; a hard limit can be a billion.
_ENOUGH = 65_536


def raise_file_limit() -> int:
    """Raises the soft limit of this process to the hard one. Returns what is allowed now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return file_limit()


def file_limit() -> int:
    """Returns how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft
