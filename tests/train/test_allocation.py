"""Freed memory is kept by the process that asks for it."""

import subprocess
import sys

import pytest

PAGES = """
import resource, sys
import torch
from apportion.train.allocation import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("not glibc")
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how):
    found = subprocess.run([sys.executable, "-c", PAGES, how], capture_output=True, text=True)
    if "not glibc" in found.stderr:
        pytest.skip("no glibc")
    return int(found.stdout)


def test_what_is_freed_is_used_again_without_the_system_clearing_it():
    # 64 MiB are 16,384 pages of 4 KiB.
    assert pages("plain") > 5 * 16_000
    # Where the first was aligned to another page, one more is cleared.
    assert pages("keep") < 2 * 17_000


def test_elsewhere_nothing_changes(monkeypatch):
    import ctypes

    from apportion.train.allocation import keep_freed_memory

    class Library:
        def __init__(self, name):
            pass

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert not keep_freed_memory()
