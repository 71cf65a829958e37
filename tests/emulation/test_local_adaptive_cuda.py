"""The CUDA kernels through their operator, emulated: whole numbers come out bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from emulator import DTYPES, SANITIZERS, check_counts, some

from adaconv.cuda import local_adaptive

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
from local_adaptive_cases import OUTPUTS, Case, depthwise, results
