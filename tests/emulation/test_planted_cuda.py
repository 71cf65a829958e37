"""The emulation finds bugs that are there on purpose, where they are, and nothing else."""

import csv
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import emulator
import pytest

SOURCE = Path(__file__).with_name("planted.cu")
LINES = SOURCE.read_text().splitlines()

#: bug → the sanitizer without which it is not found for sure, and what is reported.
REPORTS = {
    "missing_barrier": ("thread", "ThreadSanitizer: data race"),
    "missing_second_barrier": ("thread", "ThreadSanitizer: data race"),
    "missing_syncwarp": ("thread", "ThreadSanitizer: data race"),
    "shuffle_is_no_syncwarp": ("thread", "ThreadSanitizer: data race"),
    "copy_over_what_is_read": ("thread", "ThreadSanitizer: data race"),
    "race_of_blocks": ("thread", "ThreadSanitizer: data race"),
    "store_off_by_one": ("address", "AddressSanitizer: heap-buffer-overflow"),
    "shared_off_by_one": ("address", "AddressSanitizer: use-after-poison"),
    "early_read_of_a_copy": ("address", "AddressSanitizer: use-after-poison"),
    "wait_for_too_few": ("address", "AddressSanitizer: use-after-poison"),
    "divergent_barrier": ("", "__syncthreads waits for ever: 40 of 64 threads came"),
    "two_barriers": ("", "__syncthreads is divergent: other threads of the block are at"),
    "lane_leaves_early": ("", "__shfl_down_sync waits for ever: 31 of 32 threads came"),
    "lane_outside_of_the_mask": ("", r"__shfl_xor_sync by lane \d\d, which its mask leaves out"),
    "misaligned_vector": ("", "access of 16 bytes at an address that is not a multiple of that"),
    "more_shared_than_launched": ("", "takes 16384 bytes of shared memory, launched with 1280"),
    "read_before_any_write": ("", r"y\[\d+\] is -?nan"),
}
#: Whose report names no line.
WRONG_RESULTS = {"read_before_any_write"}
SANITIZERS = ("", "address", "thread")
TSAN = "halt_on_error=1:ignore_noninstrumented_modules=1"  # as `make emulate-sanitize` has it


@pytest.fixture(scope="session")
def programs(runtime):
    """Return the program that plants bugs, by the sanitizer it is compiled with."""
    folder = runtime[0].parent

    def build(sanitizer):
        planted = emulator.compile_object(folder, SOURCE, sanitizer)
        options = [f"-fsanitize={sanitizer}"] if sanitizer else []
        return emulator.link(folder / f"planted-{sanitizer}", [planted, *runtime], *options)

    there = [sanitizer for sanitizer in SANITIZERS if emulator.has(sanitizer)]
    jobs = [partial(build, sanitizer) for sanitizer in there]
    return dict(zip(there, emulator.in_parallel(jobs), strict=True))


def program_of(programs, sanitizer):
    if sanitizer not in programs:
        pytest.skip(f"{emulator.COMPILER} has no library for -fsanitize={sanitizer}")
    return programs[sanitizer]


def plant(program, *arguments, seed=0):
    # ThreadSanitizer needs its addresses free, which randomisation may take.
    layout = ["setarch", "-R"] if shutil.which("setarch") else []
    return subprocess.run(
        [*layout, program, *arguments],
        env={**os.environ, "ADACONV_EMULATION_SEED": str(seed), "TSAN_OPTIONS": TSAN},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", REPORTS)
def test_bug_is_found_at_its_line(programs, name):
    sanitizer, report = REPORTS[name]
    done = plant(program_of(programs, sanitizer), name, "bug")
    assert done.returncode != 0
    assert re.search(report, done.stderr), done.stderr
    lines = [i for i, line in enumerate(LINES, 1) if line.endswith(f"// {name}")]
    places = {f"{SOURCE.name}:{line}" for line in lines}
    assert name in WRONG_RESULTS or places & set(re.findall(r"planted\.cu:\d+", done.stderr)), (
        done.stderr
    )


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_correct_kernels_are_not_reported(programs, sanitizer):
    program = program_of(programs, sanitizer)
    for name in REPORTS:
        done = plant(program, name, "clean", seed=3)
        assert (done.returncode, done.stderr) == (0, ""), name


@pytest.mark.parametrize(
    ("sanitizer", "name"), [("", "divergent_barrier"), ("address", "store_off_by_one")]
)
def test_failures_name_the_seed(programs, sanitizer, name):
    done = plant(program_of(programs, sanitizer), name, "bug", seed=11)
    assert "ADACONV_EMULATION_SEED=11" in done.stderr


def test_accesses_are_counted(programs):
    counts = list(csv.DictReader(plant(programs[""], "count").stdout.splitlines()))
    marks = {i: re.search(r"// (\d+) / (\d+)$", line) for i, line in enumerate(LINES, 1)}
    expected = {i: mark.groups() for i, mark in marks.items() if mark}
    assert {int(row["line"]): (row["moved"], row["ideal"]) for row in counts} == expected


def test_every_bug_is_tested():
    assert set(re.findall(r"PLANTED\((\w+), \w+\),", SOURCE.read_text())) == set(REPORTS)
