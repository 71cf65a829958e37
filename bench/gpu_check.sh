#!/usr/bin/env bash
# On a machine with a GPU: tests of the Triton kernels, their errors, times and memory, in a JSON file.
#   bash bench/gpu_check.sh [folder of the result]
# DEVICE=cpu walks the same steps in Triton's interpreter, on small shapes.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD:$PWD/bench:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
tests=(tests/ops/test_adaptive_conv_triton.py -p no:cacheprovider)
if [ "$device" = cpu ]; then
  export TRITON_INTERPRET=1
  tests+=(-k "empty_batch or whole")
fi
# Every case compiles kernels of its own.
"$python" -c 'import xdist' 2>/dev/null && tests+=(-n "$(($(nproc) < 12 ? $(nproc) : 12))")
"$python" -m pytest -q "${tests[@]}"
"$python" -m adaconv_bench.gpu --device "$device" --out "${1:-bench/results}"
