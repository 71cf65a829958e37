"""What is drawn of a trained model is what the model and the data have."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from adaconv import data, explore, models
from adaconv.cli import main
from adaconv.models import GAN
from adaconv.train import Checkpoint, sample


@pytest.fixture
def gan() -> GAN:
    torch.manual_seed(0)
    gan = models.create("sngan", 8, width=0.1)
    with torch.no_grad():  # as it starts, its images are grey
        for parameter in gan.parameters():
            parameter.mul_(5)
    return gan


@pytest.fixture
def pictures() -> data.ImageData:
    noise = torch.Generator().manual_seed(1)
    values = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8, generator=noise)
    return data.ImageData(name="pictures", split="train", licence="none", values=values)


def test_walks():
    a, b = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    for path in explore.PATHS.values():
        walk = path(a, b, 5)
        torch.testing.assert_close(walk[[0, -1]], torch.stack([a, b]))
    third = explore.spherical(a, b, 4)[1]
    torch.testing.assert_close(third, 2 * torch.tensor([math.cos(math.pi / 6), 0.5, 0.0]))
    torch.testing.assert_close(explore.linear(a, b, 5)[1], torch.tensor([1.5, 0.5, 0.0]))
    torch.testing.assert_close(explore.spherical(a, 2 * a, 3)[1], 1.5 * a)  # parallel: straight


def test_interpolation_passes_the_samples(gan):
    latent = gan.latent(3)
    rows = explore.interpolate(gan, latent, "linear", count=4)
    torch.testing.assert_close(rows[0].images[0], sample(gan, latent)[0])
    torch.testing.assert_close(rows[0].images[-1], rows[1].images[0])
    assert [len(row.images) for row in rows] == [4, 4]


def test_arithmetic_on_means(gan):
    latent = gan.latent(9)
    terms = explore.parse("0,1 - 2 + 3,4,5")
    noise = torch.Generator().manual_seed(0)
    rows = explore.arithmetic(gan, latent, terms, count=3, generator=noise)
    assert [row.name for row in rows] == ["added", "subtracted", "added", "the result"]
    total = latent[:2].mean(0) - latent[2] + latent[3:6].mean(0)
    torch.testing.assert_close(rows[-1].images[0], sample(gan, total[None])[0])
    torch.testing.assert_close(rows[0].images[2], sample(gan, latent[:2].mean(0, True))[0])
    assert len(rows[-1].images) == 4
    assert not torch.equal(rows[-1].images[0], rows[-1].images[1])


@pytest.mark.parametrize("text", ["", "1,", "a", "1 * 2", "1 -", "--1"])
def test_other_expressions(text):
    with pytest.raises(ValueError, match="groups of numbers with"):
        explore.parse(text)


def test_nearest_are_found_in_all_batches(pictures, monkeypatch):
    monkeypatch.setattr(sys.modules["adaconv.explore.neighbours"], "BATCH", 7)
    wanted = [33, 2, 18]
    images = pictures.__getitems__(wanted) + 0.01
    distances, places = explore.nearest(images, pictures, 5)
    assert places[:, 0].tolist() == wanted
    torch.testing.assert_close(distances[:, 0], torch.full((3,), 0.01), rtol=1e-3, atol=0)
    everything = (images[:, None] - pictures.__getitems__(range(40))).square().mean((2, 3, 4))
    torch.testing.assert_close(distances, everything.sqrt().sort().values[:, :5], rtol=1e-3, atol=0)


def test_memorised_images_are_told(gan, pictures):
    gan.generator.forward = lambda latent: pictures.__getitems__(range(len(latent))) * 0.99
    first, *rows = explore.neighbours(gan, gan.latent(3), pictures, count=4)
    assert len(first.images) == 4
    for index, row in enumerate(rows):
        assert row.name.startswith("nearest at 0.0")
        torch.testing.assert_close(row.images[1], pictures[index])


class Bars(nn.Module):
    """Two filters: one is excited by bright left halves, the other by bright right halves."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 4, stride=4, bias=False)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        with torch.no_grad():
            self.convolution.weight[0] = torch.tensor([1.0, 1.0, -1.0, -1.0])
            self.convolution.weight[1] = torch.tensor([-1.0, -1.0, 1.0, 1.0])

    def forward(self, images: Tensor) -> Tensor:
        return self.activation(self.convolution(images)).sum((1, 2, 3))


def test_guided_gradients_are_of_what_excites():
    images = torch.zeros(2, 3, 8, 8)
    images[0, :, :4, :2] = 1.0  # excites filter 0 in the first place
    images[1, :, 4:, 6:] = 1.0  # and filter 1 in the last
    network = Bars()
    gradients, peaks = explore.guided_gradients(network, images, [0, 1])
    assert peaks.tolist() == [24, 24]
    for index, (rows, columns) in enumerate(((slice(0, 4), slice(0, 4)), (slice(4, 8),) * 2)):
        expected = torch.zeros(3, 8, 8)
        expected[:, rows, columns] = network.convolution.weight[index]
        torch.testing.assert_close(gradients[index], expected)
    # a filter that nothing excites has none, though a leaky ReLU would pass a share
    gradients, _ = explore.guided_gradients(network, -images[:1, :, :4, :4], [0])
    assert not gradients.any()
    filters, best = explore.strongest_features(network, images, 2)
    assert dict(zip(filters, best, strict=True)) == {0: 0, 1: 1}
    assert network.activation.inplace  # a copy was changed


def test_guidance_stops_negative_gradients():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False), nn.ReLU()
    )
    with torch.no_grad():
        network[0].weight[:, 0, 0, 0] = torch.tensor([3.0, 5.0])
        network[2].weight[0, :, 0, 0] = torch.tensor([4.0, -1.0])
    gradient, _ = explore.guided_gradients(network, torch.ones(1, 1, 1, 1), [0])
    assert gradient.item() == 12  # the plain gradient is 12 - 5


def test_dropped_filters_are_zero_and_come_back(gan):
    latent = gan.latent(4)
    plain = sample(gan, latent)
    gan.generator.eval()
    with torch.no_grad(), explore.drop_filters(gan.generator, 1, [0, 2]):
        for _ in range(2):  # layers are counted anew in each pass
            maps = explore.feature_maps(gan.generator, latent)
    assert not maps[1][:, [0, 2]].any()
    assert maps[1][:, 1].any()
    assert maps[0][:, [0, 2]].any()
    torch.testing.assert_close(sample(gan, latent), plain)
    rows = explore.dropping(gan, latent, layer=1, filters=[0, 2])
    torch.testing.assert_close(rows[0].images, plain)
    with explore.drop_filters(gan.generator, 1, [0, 2]):
        torch.testing.assert_close(rows[1].images, sample(gan, latent))
    assert not torch.allclose(rows[1].images, plain)


def test_sweeps_of_a_model_with_codes(gan):
    with pytest.raises(ValueError, match="sngan has no latent codes to sweep"):
        explore.sweeps(gan, 2, generator=torch.Generator())
    gan.columns = 5
    gan.shown_latent = lambda n, generator: gan.latent(n, generator=generator)
    rows = explore.sweeps(gan, 2, generator=torch.Generator().manual_seed(0))
    expected = sample(gan, gan.latent(10, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(torch.cat([row.images for row in rows]), expected)


def test_a_sheet_has_its_images(tmp_path):
    red, blue = (
        torch.tensor(c).view(1, 3, 1, 1).expand(2, 3, 8, 8) for c in ([1.0, -1, -1], [-1.0, -1, 1])
    )
    rows = [explore.Row("red", red, ["a", "b"]), explore.Row("blue", blue[:1])]
    explore.save_sheet(rows, "colours", tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    reds = (pixels == (255, 0, 0)).all(2)
    blues = (pixels == (0, 0, 255)).all(2)
    assert reds.sum() == pytest.approx(2 * blues.sum(), rel=0.15)  # rounding to pixels
    assert np.nonzero(reds)[0].max() < np.nonzero(blues)[0].min()


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for index in range(12):
        pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{index}.png")
    line = "train sngan --data folder:pictures --image-size 8 --width 0.1 --batch-size 4 --steps 1"
    assert main([*line.split(), "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["explore", "run/checkpoint.safetensors", "--rows", "2", "--out", "seen"]) == 0
    names = [name for name in explore.SHEETS if name != "codes"]
    assert capsys.readouterr().out.split() == [f"seen/{name}.png" for name in names]
    for name in names:
        assert Image.open(tmp_path / "seen" / f"{name}.png").width > 200
    assert main(["plot", "run", "--out", "run.png"]) == 0
    assert (tmp_path / "run.png").is_file()

    saved = Checkpoint.load("run/checkpoint.safetensors")
    for arguments, message in (
        (["--show", "neighbors"], "did you mean 'neighbours'"),
        (["--show", "codes"], "sngan has no latent codes to sweep"),
        (["--arithmetic", "1 *", "--show", "arithmetic"], "groups of numbers"),
        (["--arithmetic", "99", "--show", "arithmetic"], "numbered 0 to 39, got 99"),
        (["--rows", "0"], "rows must lie in 1 ... 39, got 0"),
        (["--show", "filters", "--layer", "9"], "layers 0 to 3, got layer 9"),
        (["--show", "filters", "--filters", "99"], "layer 1 has filters 0 to"),
        (["--show", "features", "--layer", "9"], "7 activations of maps, got layer 9"),
        (["--data", "twemojy", "--show", "neighbours"], "no data is called 'twemojy'"),
    ):
        assert main(["explore", "run/checkpoint.safetensors", "--out", "other", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert saved.model["name"] == "sngan"


def test_points_are_no_images(tmp_path):
    gan = models.create("gan", width=0.05, points=True)
    with pytest.raises(ValueError, match="this gan makes points: there are no images"):
        explore.Subject(gan, "toy2d:ring")
