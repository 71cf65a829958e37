"""ONNX: every module is exported by the reference, and computes the same in onnxruntime."""

import pytest
import torch
from torch import nn

import adaconv
from adaconv.models.adagan import AdaGANGenerator
from adaconv.nn import (
    AdaConvBlock,
    AdaSeparableConvBlock,
    LocalAdaConvBlock,
    MinibatchDiscrimination,
    VirtualBatchNorm2d,
    fix_reference_,
    spectral_norm,
    spectral_norm_,
)

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def critic():
    """A network of all modules that are no adaptive convolution, and of a separable one."""
    network = nn.Sequential(
        nn.Conv2d(4, 3, 3, padding=1),
        spectral_norm(nn.Conv2d(3, 4, 3)),
        AdaSeparableConvBlock(4, 6, 3, padding="same"),
        VirtualBatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(6 * 4 * 3, 7),
        MinibatchDiscrimination(7, 5, 3),
    )
    spectral_norm_(network)
    fix_reference_(network, torch.randn(5, 4, 6, 5))
    network(torch.randn(2, 4, 6, 5))
    return network


NETWORKS = {
    "any geometry": (
        lambda: AdaConvBlock(
            4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2, bias=False,
            adaptive_kernel_size=1, regressor="full", negative_slope=0.2,
        ),
        (2, 4, 6, 5),
    ),
    "on a grid": (
        lambda: LocalAdaConvBlock(
            4, 6, (3, 2), stride=(2, 1), padding=1, dilation=(1, 2), groups=2, pitch=2, neighbours=9
        ),
        (2, 4, 6, 5),
    ),
    "in two stages on a grid": (
        lambda: AdaSeparableConvBlock(4, 6, 3, padding=1, stride=2, groups=2, pitch=2),
        (2, 4, 6, 5),
    ),
    "AdaGAN": (lambda: AdaGANGenerator(8, 0.05), (2, 128)),
    "critic": (critic, (2, 4, 6, 5)),
}  # fmt: skip


@pytest.mark.parametrize(("build", "shape"), NETWORKS.values(), ids=NETWORKS)
def test_export(build, shape, tmp_path):
    torch.manual_seed(0)
    module = build().eval()
    with torch.no_grad():
        for parameter in module.parameters():  # so that the regressed weights count
            parameter.normal_(std=0.5)
        x = torch.randn(shape)
        expected = module(x)
        path = tmp_path / "module.onnx"
        with adaconv.backend("reference"):
            torch.onnx.export(module, (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)
