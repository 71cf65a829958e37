"""Tests that need a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run(*command, **environment):
    """Run Python where no source tree hides the installed package."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=HERE,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        capture_output=True,
        text=True,
    )
