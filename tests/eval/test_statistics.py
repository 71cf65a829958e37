"""Sums over images, whatever the batches; memory that does not grow."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adaconv.eval import gather, statistics

N, FOLDS = 83, 3


@pytest.mark.parametrize("batch", [1, 7, 64, N])
def test_sums_are_those_of_all_features_at_once(batch, pictures, projection, monkeypatch):
    monkeypatch.setattr(statistics, "KEPT", 50)
    images = pictures.values[:N]
    found = gather(images.split(batch), N, projection, folds=FOLDS)
    features, logits = projection(images)
    p = logits.double().softmax(1)
    assert (found.n, found.num_features) == (N, 4)
    torch.testing.assert_close(found.kept, features[:50].float())
    for counts in (found.counts, found.group_counts):
        assert counts.sum() == N
        assert counts.max() - counts.min() <= 1
    for part in range(FOLDS):
        mine = features[torch.arange(N) * FOLDS // N == part].double()
        assert found.counts[part] == len(mine)
        torch.testing.assert_close(found.sums[part], mine.sum(0))
        torch.testing.assert_close(found.products[part], mine.T @ mine)
    for group in range(statistics.GROUPS):
        mine = p[torch.arange(N) * statistics.GROUPS // N == group]
        torch.testing.assert_close(found.probabilities[group], mine.sum(0), rtol=1e-6, atol=0)
        torch.testing.assert_close(found.information[group], (mine * mine.log()).sum())


@pytest.mark.parametrize(("n", "message"), [(9, "expected 9 images, got more"), (11, "got 10")])
def test_another_number_of_images(n, message, pictures, projection):
    with pytest.raises(ValueError, match=message):
        gather(pictures.values[:10].split(4), n, projection)


def test_the_network_is_used_as_in_evaluation(pictures, projection):
    dropout = torch.nn.Dropout(0.5)
    projection.add_module("dropout", dropout.train())
    gather([pictures.values[:4]], 4, projection)
    assert not dropout.training


MEMORY = """
import re, torch
from adaconv.eval import Extractor, gather, statistics

statistics.KEPT = 256
D, BATCH = 256, 512

class Net(Extractor):
    def forward(self, images):
        features = images.flatten(1)[:, :1].float().expand(-1, D)
        return features, features[:, :10]

def peak(n):
    images = torch.zeros(BATCH, 3, 2, 2, dtype=torch.uint8)
    gather((images for _ in range(n // BATCH)), n, Net("net", "none", D, 10))
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024

torch.set_num_threads(1)
few = peak(1024)
print(peak(32768) - few, 32768 * D * 4)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_images():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grown, all_features = map(int, done.stdout.split())
    assert grown < all_features / 4
