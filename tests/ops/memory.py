"""Measuring how much memory a step takes, in a process of its own."""

from pathlib import Path

import pytest
from processes import run

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc"
)

MEASURE = """
import re, sys, torch
torch.set_num_threads(2)

def status(key):
    return int(re.search(key + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

def peak(step, images):
    '''Bytes above what was there before, and what the step returns.'''
    step(1)
    open("/proc/self/clear_refs", "w").write("5")
    before = status("VmRSS")
    found = step(images)
    return status("VmHWM") - before, found
"""


def measure(code, *arguments):
    """Run code that knows ``peak`` and ``sys.argv``; return the numbers that it prints."""
    done = run("-c", MEASURE + code, *map(str, arguments), MALLOC_TRIM_THRESHOLD_="0")
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]
