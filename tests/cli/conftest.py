"""Every command runs in an empty folder."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    """Run in an empty folder, and leave torch's threads as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("ADACONV_DEBUG", raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
