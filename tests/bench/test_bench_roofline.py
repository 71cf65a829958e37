"""Floors: what is counted without computing is what is computed."""

import contextlib
import csv
import inspect
import os
import subprocess
import sys
from dataclasses import dataclass
from unittest import mock

import pytest
import torch
from adaconv_bench import roofline
from adaconv_bench.operators.adaptive_conv import Layer
from adaconv_bench.race import FORWARD, STEP
from adaconv_bench.registry import operator, stems
from adaconv_bench.roofline import traffic
from adaconv_bench.roofline.devices import DEVICES

import adaconv

pytest.importorskip("triton")


def test_bytes_that_must_move_are_those_of_arguments_and_results():
    layer = Layer("L", 8, 3, 5)
    sizes = {"x": 2 * 8 * 25, "d": 2 * 8 * 25, "P": 3 * 8 * 9 * 8, "q": 3 * 8 * 9, "b": 2 * 3 * 25}
    leaves, y = 2 * sum(sizes.values()), 2 * 2 * 3 * 25
    for direction, moved in (
        (FORWARD, leaves + y),
        (STEP, 3 * leaves + 2 * y - 2 * 2 * sizes["b"]),
    ):
        work = traffic.least(layer, 2, torch.bfloat16, direction)
        assert work.memory == moved
        assert work.operations == layer.flops(2) * (1 if direction == FORWARD else 3)


def test_operations_of_pytorch_are_counted_one_by_one():
    with traffic.Traffic() as counted:
        a, b = torch.ones(4, 8), torch.ones(1, 8).expand(6, 8)
        counted.bytes = 0  # what filled them
        torch.relu(a @ b.t())
    product = 4 * 8 + 8 + 4 * 6  # what is expanded stands in memory once
    assert counted.bytes == 4 * (product + 2 * 4 * 6)
    assert counted.operations == 2 * 4 * 8 * 6


def test_every_operator_has_floors(tmp_path):
    """In a process of its own: kernels are launched there, not interpreted."""
    presets = {stem: operator(stem).presets for stem in stems()}
    jobs = {stem: min(some, key=lambda name: some[name].batch) for stem, some in presets.items()}
    program = (
        "from adaconv.cli import main\n"
        f"for stem, preset in {jobs}.items():\n"
        "    options = f'{stem} --dtype float32 --batch 2 --preset {preset}'.split()\n"
        f"    options += ['--csv', '{tmp_path}/' + stem]\n"
        "    assert main(['bench', 'roofline', *options]) == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TRITON_INTERPRET": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("computed, not measured") == len(jobs)
    for stem in jobs:
        check_floors(list(csv.DictReader((tmp_path / stem).open())), operator(stem).yardstick)


def check_floors(rows, yardstick):
    assert {"least", yardstick} <= {row["of"] for row in rows}
    for row in rows:
        floor = next(
            other for other in rows
            if other["of"] == "least"
            and all(other[name] == row[name] for name in ("case", "direction"))
        )  # fmt: skip
        assert float(row["MB"]) >= 0.99 * float(floor["MB"]) > 0, row  # but for the digits shown


@dataclass
class _Launch:
    """A launch in the interpreter, for the formulas of the tiling."""

    name: str
    grid: tuple
    arguments: dict


@pytest.mark.parametrize(
    "layer",
    [
        Layer("one block, one tile", 5, 3, (4, 9), features=8, kernel=1),
        Layer("blocks and tiles", 2, 150, (2, 3), features=140, kernel=1),
        Layer("anew", 5, 3, (4, 9), features=8, kernel=1, memory="recompute"),
    ],
    ids=lambda layer: layer.name,
)
def test_bytes_of_a_tiling_are_those_that_the_kernels_ask_for(layer):
    from adaconv_bench.operators.adaptive_conv.tiling import TILINGS
    from adaconv_kernels import INTERPRETED, _device
    from triton.runtime.interpreter import interpreter_builder

    if not INTERPRETED:
        pytest.skip("a GPU does not count")
    asked, launches, launch = [], [], _device.launch

    def counted(method):
        def call(pointers, *rest):
            mask = rest[1 if method.__name__ == "create_masked_store" else 0]
            size = pointers.get_element_ty().primitive_bitwidth // 8
            asked[-1] += int(mask.data.astype(bool).sum()) * size
            return method(pointers, *rest)

        return call

    def recorded(kernel, grid, *arguments, **constants):
        asked.append(0)
        taken = {name: c for name, c in constants.items() if name in kernel.arg_names}
        bound = inspect.signature(kernel.fn).bind(*arguments, **taken).arguments
        launches.append(_Launch(kernel.fn.__name__, grid, bound))
        launch(kernel, grid, *arguments, **constants)

    methods = ("create_masked_load", "create_masked_store")
    patches = [
        mock.patch.object(interpreter_builder, name, counted(getattr(interpreter_builder, name)))
        for name in methods
    ]
    patches.append(mock.patch.object(_device, "launch", recorded))
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        with adaconv.backend("triton"):
            layer.problem(2, torch.float32).results()
    names = ["forward_kernel"] * (1 if layer.memory == "mask" else 2)
    names += ["inputs_kernel", "gather_kernel", "weights_kernel"]
    assert [one.name for one in launches] == names
    for one, found in zip(launches, asked, strict=True):
        operations, moved = TILINGS[one.name](one)
        assert moved == found, one.name
        assert operations >= layer.flops(2) * (one.name != "gather_kernel")


def test_rates_are_those_of_the_makers():
    h100 = DEVICES["h100"]
    assert h100.least(torch.bfloat16) == h100.eager(torch.float16) == 989.4
    assert h100.least(torch.float32) == pytest.approx(989.4 / 3)
    assert h100.eager(torch.float32) == 66.9
    assert DEVICES["rtx4090"].least(torch.float32) == 82.6, "three products are slower there"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"op": "adaptive_conf"}, "no operator to benchmark is called"),
        ({"device": "h200"}, "no device is called 'h200', did you mean 'h100'"),
        ({"preset": "adagan"}, "no preset of adaptive_conv is called"),
        ({"dtype": ["float64"]}, "no dtype is called"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
    ],
)
def test_unknown_names_give_the_nearest(options, message):
    with pytest.raises(ValueError, match=message):
        roofline.run(**options)
