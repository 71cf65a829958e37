"""The gate of the compiled Triton kernels: what it reads, and that it closes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

import adaconv_kernels
import triton
from adaconv_bench import static
from adaconv_bench.static import ahead
from adaconv_bench.static.code import LANGUAGES, count, inner_loop, parse
from adaconv_bench.static.targets import TARGETS
from adaconv_kernels._promises import Promise

ROOT = Path(__file__).parents[2]

SASS = """
.text.some_kernel:
        /*0000*/                   LDC R1, c[0x0][0x37c] ;
        /*0010*/               @P0 BRA `(.L_x_1) ;
.L_x_0:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R5], desc[UR4][R2.64] ;
.L_x_2:
        /*0030*/              @!P1 BRA `(.L_x_2) ;
        /*0040*/                   HMMA.16816.F32.BF16 R4, R8, R10, R4 ;
{filling}
        /*0060*/                   STL.64 [R1], R2 ;
        /*0070*/               @P1 BRA `(.L_x_0) ;
.L_x_1:
        /*0080*/                   STG.E desc[UR4][R2.64], R0 ;
        /*0090*/                   EXIT ;
""".format(filling="        /*0050*/                   FFMA R0, R1, R2, R3 ;\n" * 15)

AMDGCN = """
some_kernel:
\tglobal_load_dwordx4 v[0:3], v[4:5], off
.LBB0_1:                                ; =>This Inner Loop Header: Depth=1
\tv_mfma_f32_32x32x8_bf16_1k a[0:15], v[0:1], v[2:3], a[0:15]
{filling}
\ts_cbranch_scc1 .LBB0_1
\tbuffer_store_dword v0, v1, s[0:3], 0 offen
""".format(filling="\tv_fma_f32 v0, v1, v2, v3\n" * 15)


@pytest.mark.parametrize(
    ("target", "warps", "registers", "shared", "expected"),
    [
        # the rows of NVIDIA's calculator: threads 256, 256, 256, 128, 1024
        ("sm_80", 8, 32, 0, 1.0),
        ("sm_80", 8, 40, 0, 0.75),
        ("sm_80", 8, 32, 48 << 10, 0.375),
        ("sm_80", 4, 255, 0, 0.125),
        ("sm_80", 32, 65, 0, 0.0),
        ("sm_80", 1, 32, 0, 0.5),
        ("sm_90", 8, 128, 0, 0.25),
        ("sm_90", 4, 32, 227 << 10, 0.0625),
        ("sm_90", 4, 32, 228 << 10, 0.0),
        ("sm_100", 4, 168, 0, 0.1875),
        # waves of a SIMD by vector registers, as AMD has them: 8 at 64, 7 at 72, 4 at 128, ...
        ("gfx942", 4, 64, 0, 1.0),
        ("gfx942", 4, 72, 0, 0.875),
        ("gfx942", 4, 128, 0, 0.5),
        ("gfx942", 4, 168, 0, 0.375),
        ("gfx942", 4, 512, 0, 0.125),
        ("gfx942", 4, 64, 33 << 10, 0.125),
    ],
)
def test_occupancy_is_that_of_the_makers_tables(target, warps, registers, shared, expected):
    assert TARGETS[target].occupancy(warps, registers, shared) == expected


@pytest.mark.parametrize(
    ("backend", "listing", "size", "loop"),
    [
        ("cuda", SASS, 24, {"tensor": 1, "float": 15, "loads": 1, "loads16": 1, "stores": 0}),
        ("hip", AMDGCN, 19, {"tensor": 1, "float": 15, "loads": 0, "loads16": 0, "stores": 0}),
    ],
)
def test_the_inner_loop_is_read(backend, listing, size, loop):
    language = LANGUAGES[backend]
    instructions, loops = parse(language, listing)
    assert len(instructions) == size
    assert len(loops) == 1, "a branch to itself waits"
    found = count(language, inner_loop(language, instructions, loops))
    assert {kind: found[kind] for kind in loop} == loop
    whole = count(language, instructions)
    assert (whole["loads"], whole["loads16"], whole["stores"], whole["stores16"]) == (1, 1, 1, 0)


#: What is done to a file of the kernels, and what the gate says.
FAULTS = {
    "none": (None, "", "", "gate: green"),
    "spills": (
        "adaptive_conv.py", '"num_warps": config.warps', '"maxnreg": 40, "num_warps": config.warps',
        "weights_kernel M64 J16 O4 D16: spills",
    ),
    "a product is lost": (
        "_products.py", 'return tl.dot(a[0], b[0], total, input_precision="ieee")', "return total",
        "forward_kernel M128 J16 O4 D16: has 0 products, promised 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_closes(fault, tmp_path, tmp_path_factory):
    name, old, new, message = FAULTS[fault]
    if name:
        copy = tmp_path / "adaconv_kernels"
        shutil.copytree(Path(adaconv_kernels.__file__).parent, copy)
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new))
    table = tmp_path / "static.csv"
    options = f"--op adaptive_conv --case L4 --dtype bfloat16 --target sm_80 --csv {table}"
    done = subprocess.run(
        [sys.executable, "-m", "adaconv", *f"bench static {options} --processes 1".split()],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
            "TRITON_INTERPRET": "0",
            "TRITON_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "triton"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert message in done.stdout, done.stderr
    assert done.returncode == (1 if name else 0)
    lines = table.read_text().splitlines()
    assert len(lines) == 5
    assert all(line.endswith(f"triton {triton.__version__}") for line in lines[1:])


def test_a_table_is_compared_line_by_line(capsys):
    header, a, b = "kernel,registers,compiler\n", "a,16,new 2\n", "b,32,new 2\n"
    old, new = header + a + b, header + a + b.replace("32", "33")
    both, path = ["a", "b"], Path("old.csv")

    def found(text: str, before: str, kernels: list[str]) -> list[str]:
        compiled = {"kernel": kernels, "compiler": ["new 2"]}
        return static._differences(text, before, path, compiled)

    assert found(old, old, both) == []
    assert found(header + a, old, ["a"]) == []  # b was not compiled
    assert found(header + a, old, both)[0] == "- b,32,new 2"
    assert found(new, old, both)[:2] == ["- b,32,new 2", "+ b,33,new 2"]
    assert "old.csv is not what the kernels are compiled to" in found(new, old, both)[2]
    assert capsys.readouterr().out == ""
    assert found(header + a, old.replace("b,32,new 2", "b,32,other 1"), both) == []
    assert capsys.readouterr().out == "not compared: lines of old.csv that other 1 made\n"


@pytest.mark.skipif(ahead.why_not() is not None, reason=f"no CUDA kernels: {ahead.why_not()}")
def test_cuda_kernels_stand_in_the_same_columns(monkeypatch):
    promise = Promise(products=1)
    monkeypatch.setitem(ahead.PROMISES, ("spectral_norm", "rows_kernel"), promise)
    rows, faults = ahead.rows(["spectral_norm"], ["float32"], ["sm_90", "gfx942"], 1)
    with open(ROOT / "bench/results/static.csv") as table:
        assert [*rows[0], "compiler"] == table.readline().strip().split(",")
    kernels = {row["kernel"]: row for row in rows}
    assert len(kernels) == len(rows) == 6
    assert all(row["target"] == "sm_90" and row["dtype"] == "float32" for row in rows)
    assert all(row["warps"] == 8 and row["spilled"] == 0 < row["loads"] for row in rows)
    assert faults == [
        "spectral_norm any float32 sm_90 rows_kernel : has 1 products and no instruction of "
        "tensor cores"
    ]


def test_without_nvcc_the_table_says_so(monkeypatch, capsys):
    row = {**dict.fromkeys(static.SHOWN, "1"), "backend": "triton"}
    monkeypatch.setattr(static, "_compile", lambda *_: ([row], []))
    monkeypatch.setattr(ahead.shutil, "which", lambda name: None)
    assert static.run(["spectral_norm"], dtype=["float32"], target=["sm_90"], processes=1) == 0
    assert "without CUDA kernels: there is no nvcc on PATH" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"op": ["adaptive_conf"]}, "no operator with kernels is called 'adaptive_conf'"),
        ({"target": ["sm_91"]}, "no GPU is called 'sm_91', did you mean 'sm_90'"),
        ({"case": ["L5"]}, "no case is called 'L5'"),
        ({"dtype": ["float64"]}, "no dtype is called 'float64'"),
    ],
)
def test_unknown_names_give_the_nearest(options, message):
    with pytest.raises(ValueError, match=message):
        static.run(**options)
