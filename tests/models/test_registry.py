"""The models by name."""

import re

import pytest
from systems import IMAGE_SIZES

from adaconv import models


def test_names():
    assert models.names() == [
        "acgan",
        "adagan-1-3x3",
        "adagan-2-3x3",
        "adagan-3-3x3",
        "adagan-3x3",
        "adagan-5x5",
        "adagan-7x7",
        "adagan-local-3x3",
        "adagan-sep-3x3",
        "ali",
        "baseline",
        "cgan",
        "consensus",
        "dcgan",
        "gan",
        "improved-gan",
        "infogan",
        "sngan",
        "wgan",
        "wgan-gp",
    ]


@pytest.mark.parametrize("name", models.names())
def test_every_listed_name_is_a_model(name):
    size = IMAGE_SIZES.get(name, 8)
    gan = models.create(name, size, width=0.05)
    assert gan.name == name
    assert gan.image_size == size


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("AdaGAN-3x3", "adagan-3x3"),
        ("adagan-full-3x3", "adagan-3x3"),
        ("adagan-2-11x11", "adagan-2-11x11"),
        ("AdaGAN-sep-2-5x5", "adagan-sep-2-5x5"),
        ("adagan-local-full-7x7", "adagan-local-7x7"),
        ("Baseline", "baseline"),
    ],
)
def test_other_spellings(asked, got):
    assert models.create(asked, 8, width=0.05).name == got


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("adagn-5x5", "'adagan-5x5'"), ("basline", "'baseline'"), ("adagan-3-3x", "'adagan-3-3x3'")],
)
def test_unknown_name_gives_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"no model is called '{name}'; did you mean {nearest}"):
        models.create(name)


@pytest.mark.parametrize(
    "name",
    ["resnet", "adagan-4x4", "adagan-3x5", "adagan-0x0", "adagan-4-3x3", "adagan-03x03", "", None],
)
def test_unknown_name_lists_all(name):
    with pytest.raises(ValueError, match="There are: acgan, adagan-1-3x3, adagan-2-3x3"):
        models.create(name)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 30}, ValueError, "image_size must be a positive multiple of 8, got 30"),
        ({"image_size": 0}, ValueError, "image_size must be a positive multiple of 8, got 0"),
        ({"image_size": 32.0}, TypeError, r"image_size must be an integer, got 32\.0"),
        ({"width": 0}, ValueError, "width must be a positive number, got 0"),
        ({"width": float("nan")}, ValueError, "width must be a positive number, got nan"),
        ({"width": "1"}, TypeError, "width must be a number, got '1'"),
        ({"loss": "hing"}, ValueError, "no loss is called 'hing'; did you mean 'hinge'"),
        ({"regressor": "ful"}, ValueError, "no regressor is called 'ful'; did you mean 'full'"),
        ({"regresor": "full"}, TypeError, "no option is called 'regresor'; did you mean 'regress"),
    ],
)
def test_refuses_arguments(options, error, message):
    with pytest.raises(error, match=message):
        models.create("adagan-3x3", **{"image_size": 8, "width": 0.05, **options})


def test_baseline_has_no_options_of_blocks():
    with pytest.raises(TypeError, match="model baseline: no option is called 'negative_slope'"):
        models.create("baseline", negative_slope=0.1)


@pytest.mark.parametrize("name", models.names())
def test_every_model_names_its_source(name):
    assert re.fullmatch(r'.+, ".+", 20\d\d', models.source(name))
