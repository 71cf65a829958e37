#!/usr/bin/env bash
# On a machine with a GPU: tests of the Triton kernels, their errors, times and memory, in a JSON file.
#   bash bench/gpu_check.sh [folder of the result]
# OPERATORS="dynamic_conv spectral_norm" takes these alone, all others are left out.
# DEVICE=cpu walks the same steps in Triton's interpreter, on small shapes.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD:$PWD/bench:$PWD/kernels${PYTHONPATH:+:$PYTHONPATH}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
operators=${OPERATORS:-adaptive_conv minibatch_discrimination spectral_norm dynamic_conv adaptive_separable local_adaptive}
tests=(-p no:cacheprovider --tb=short)
for stem in $operators; do
  tests+=("tests/ops/test_${stem}_triton.py")
done
if [ "$device" = cpu ]; then
  export TRITON_INTERPRET=1
  tests+=(-k "empty_batch or whole or nan")
fi
# Every case compiles kernels of its own.
"$python" -c 'import xdist' 2>/dev/null && tests+=(-n "$(($(nproc) < 12 ? $(nproc) : 12))")
failed=0
"$python" -m pytest -q "${tests[@]}" || failed=1
"$python" -m adaconv_bench.gpu --device "$device" --out "${1:-bench/results}" --operators $operators || failed=1
exit $failed
