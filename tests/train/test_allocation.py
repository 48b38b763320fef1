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
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how):
    found = subprocess.run([sys.executable, "-c", PAGES, how], capture_output=True, text=True)
    if "not glibc" in found.stderr:
        pytest.skip("no glibc")
    return int(found.stdout)


def test_what_is_freed_is_used_again_without_the_system_clearing_it():
    # 64 MiB are 16,384 pages of 4 KiB, 20 times over.
    assert pages("plain") > 20 * 16_000
    # A few times where what was freed is too short for what is asked for and its alignment.
    assert pages("keep") < 5 * 17_000


def test_elsewhere_nothing_changes(monkeypatch):
    import ctypes

    from apportion.train.allocation import keep_freed_memory

    class Library:
        def __init__(self, name):
            pass

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert not keep_freed_memory()
