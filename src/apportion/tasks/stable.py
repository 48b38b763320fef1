"""Hashes that are the same on every machine and in every process, unlike ``hash``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def stable_hash(text: str) -> int:
    """64 bits of BLAKE2b."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_of(what: str, shares: Sequence[Name]) -> Name:
    """The split that ``what`` belongs to; a name occurs in ``shares`` as often as it weighs."""
    return shares[stable_hash(what) % len(shares)]
