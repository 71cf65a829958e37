"""The metrics against closed forms, and against torchmetrics where it has them."""

import math

import pytest
import torch

from adaconv.eval.frechet import frechet
from adaconv.eval.inception_score import inception_score
from adaconv.eval.kernel import kernel
from adaconv.eval.precision_recall import CLUSTERS, f_scores, k_means, precision_recall

D = 4


def drawn(n, seed, d=D):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def exact(n, mean, deviation, seed):
    """Points whose sample mean and covariance are those of N(mean, diag(deviation²))."""
    x = drawn(n, seed, len(mean)).double()
    x = x - x.mean(0)
    x = x @ torch.linalg.cholesky(x.T.cov()).inverse().T
    return x * torch.tensor(deviation) + torch.tensor(mean)


def test_frechet_of_gaussians(statistics):
    pytest.importorskip("torchmetrics")
    means, deviations = ([0.0, 1.0, -2.0], [0.5, 1.0, 0.0]), ([1.0, 2.0, 0.5], [1.5, 2.0, 0.1])
    a, b = (statistics(exact(50 + i, means[i], deviations[i], i)) for i in range(2))
    expected = sum((x - y) ** 2 for pair in (means, deviations) for x, y in zip(*pair, strict=True))
    (score,) = frechet(a, b)
    assert score.value == pytest.approx(expected, rel=1e-6)
    assert score.std is None
    assert frechet(a, a)[0].value == pytest.approx(0, abs=1e-6)


def test_frechet_jackknife_is_that_of_torchmetrics_without_each_fold(statistics):
    fid = pytest.importorskip("torchmetrics.image.fid")
    from adaconv.eval.frechet import Given

    real, fake = drawn(40, 0).double(), drawn(33, 1).double() * 2
    parts = []
    for fold in range(10):
        metric = fid.FrechetInceptionDistance(Given(D))
        metric.update(real, real=True)
        metric.update(fake[torch.arange(33) * 10 // 33 != fold], real=False)
        parts.append(metric.compute().item())
    mean = sum(parts) / 10
    expected = math.sqrt(0.9 * sum((part - mean) ** 2 for part in parts))
    # features are float64 here: those that are kept as float32 play no part
    (score,) = frechet(statistics(real), statistics(fake, folds=10))
    assert score.std == pytest.approx(expected, rel=1e-6)


def test_frechet_jackknife_tells_how_the_distance_varies(statistics):
    pytest.importorskip("torchmetrics")
    real = statistics(drawn(500, 0))
    scores = [frechet(real, statistics(drawn(200, i) + 1, folds=10))[0] for i in range(1, 31)]
    varied = torch.tensor([score.value for score in scores]).std().item()
    told = torch.tensor([score.std for score in scores]).mean().item()
    assert 0.7 < told / varied < 1.4


@pytest.mark.parametrize(("n", "noted"), [(D, True), (D + 1, False)])
def test_frechet_notes_a_singular_covariance(n, noted, statistics):
    pytest.importorskip("torchmetrics")
    (score,) = frechet(statistics(drawn(50, 0)), statistics(drawn(n, 1)))
    assert ["singular" in note for note in score.notes] == [True] * noted


def test_inception_score_of_known_distributions(statistics):
    classes = torch.arange(200) % 5  # every group of 20 has all classes equally often
    sure = 100.0 * torch.nn.functional.one_hot(classes, 5)
    for logits, expected in ((sure, 5.0), (torch.zeros(200, 5), 1.0)):
        found = statistics(drawn(200, 0), logits)
        (score,) = inception_score(found, found)
        assert score.value == pytest.approx(expected, rel=1e-9)
        assert score.std == pytest.approx(0, abs=1e-9)
        assert score.notes == ()
    few = statistics(drawn(40, 0), sure[:40])
    assert "no group of 4 images can score above 4" in inception_score(few, few)[0].notes[0]


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save", "ignore:std")
def test_inception_score_is_that_of_torchmetrics_by_group(statistics):
    inception = pytest.importorskip("torchmetrics.image.inception")
    from adaconv.eval.frechet import Given

    logits = 3 * drawn(205, 0, 7)
    groups = torch.arange(205) * 10 // 205
    values = []
    for group in range(10):
        metric = inception.InceptionScore(Given(7), splits=1)
        metric.update(logits[groups == group])
        values.append(metric.compute()[0].item())
    found = statistics(drawn(205, 1), logits)
    (score,) = inception_score(found, found)
    assert score.value == pytest.approx(sum(values) / 10, rel=1e-5)
    assert score.std == pytest.approx(torch.tensor(values).std().item(), rel=1e-4)


def test_kernel_of_two_points(statistics):
    """(xy + 1)³ = 1 + 3xy + 3x²y² + x³y³: the difference of the first three moments."""
    pytest.importorskip("torchmetrics")
    a, b = 1.5, -0.5
    real, fake = (statistics(torch.full((20, 1), value)) for value in (a, b))
    expected = 3 * (a - b) ** 2 + 3 * (a**2 - b**2) ** 2 + (a**3 - b**3) ** 2
    (score,) = kernel(real, fake)
    assert score.value == pytest.approx(expected, rel=1e-5)
    assert score.std == pytest.approx(0, abs=1e-5)


def test_kernel_is_unbiased(statistics, monkeypatch):
    pytest.importorskip("torchmetrics")
    monkeypatch.setattr("adaconv.eval.kernel.SUBSETS", 10)
    draws = [
        kernel(statistics(drawn(12, 2 * i)), statistics(drawn(12, 2 * i + 1)))[0].value
        for i in range(60)
    ]
    values = torch.tensor(draws)
    error = values.std() / len(values) ** 0.5
    assert values.mean().abs() < 3 * error
    # a biased estimate has the diagonal: E k(f, f) - E k(f, g), over the size of the subsets
    own = (drawn(10000, 0).square().sum(1) / D + 1).pow(3).mean() - 1
    assert 2 * own / 6 > 6 * error


def test_kernel_leaves_the_random_state_alone(statistics):
    pytest.importorskip("torchmetrics")
    real, fake = statistics(drawn(30, 0)), statistics(drawn(30, 1))
    before = torch.get_rng_state()
    first, again, other = (kernel(real, fake, seed)[0].value for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_precision_recall_of_equal_and_disjoint_sets(statistics):
    real = statistics(drawn(200, 0))
    for fake, expected in ((real, 1.0), (statistics(drawn(200, 1) + 100), 0.0)):
        for score in precision_recall(real, fake):
            assert score.value == pytest.approx(expected, abs=1e-6)


def test_precision_recall_of_a_lost_mode(statistics):
    """Good pictures of half of what there is: precision, no recall; and the other way round."""
    both = drawn(400, 0) + 100 * (torch.arange(400) % 2)[:, None]
    half = drawn(400, 1)
    recall, precision = precision_recall(statistics(both), statistics(half))
    assert (recall.name, precision.name) == ("PRD-F8", "PRD-F1/8")
    assert recall.value < 0.55
    assert precision.value > 0.8
    swapped = precision_recall(statistics(half), statistics(both))
    assert [s.value for s in swapped] == pytest.approx([precision.value, recall.value], abs=0.05)


def test_f_scores_of_two_clusters():
    """P = (½, ½), Q = (1, 0): α = min(λ/2, 1), β = α/λ; the best is precision 1 at recall ½."""
    p, q = torch.tensor([0.5, 0.5]).double(), torch.tensor([1.0, 0.0]).double()
    best = [(1 + b**2) * 0.5 / (b**2 + 0.5) for b in (8, 1 / 8)]
    assert f_scores(p, q) == pytest.approx(best, rel=2e-3)
    assert f_scores(q, p) == pytest.approx(best[::-1], rel=2e-3)


def test_k_means_finds_what_is_apart():
    points = drawn(CLUSTERS * 10, 0) + 1000 * (torch.arange(CLUSTERS * 10) // 10)[:, None]
    found = k_means(points, CLUSTERS, torch.Generator().manual_seed(0)).view(CLUSTERS, 10)
    assert (found == found[:, :1]).all()
    assert found[:, 0].unique().numel() == CLUSTERS
    same = k_means(torch.zeros(30, D), CLUSTERS, torch.Generator().manual_seed(0))
    assert same.unique().numel() == 1
