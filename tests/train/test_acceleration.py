"""Precision, layout, compilation, parts of batches, schedules, means of weights, and traces."""

import functools
import json
import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from adaconv import data, models
from adaconv.train import Checkpoint, TrainConfig, sample
from adaconv.train.acceleration import accelerate
from adaconv.train.rates import factor
from adaconv.train.updates import Updates


def gradients(updates: Updates, real: data.Batch) -> dict[str, torch.Tensor]:
    """Those of both sides, after one turn of each."""
    torch.manual_seed(3)
    for side in updates.gan.sides:
        updates.turn((side,), len(real), real)
    return {name: p.grad.clone() for name, p in updates.gan.module.named_parameters()}


def updates_of(gan: models.GAN, **options) -> Updates:
    return Updates(Fabric(accelerator="cpu", devices=1), gan, **options)


def quiet(gan: models.GAN) -> models.GAN:
    """Without what makes a sample depend on the others, or on chance."""
    gan.discriminator[1].p = 0.0
    gan.generator[2].eval()
    return gan


def test_parts_of_a_batch_add_up_to_it(tiny):
    real = torch.rand(6, 3, 8, 8)
    whole, parts = (updates_of(quiet(tiny()), accumulate=count) for count in (1, 3))
    expected = gradients(whole, real)
    found = gradients(parts, real)
    assert [len(batch) for batch in parts.gan.module.seen] == [2, 2, 2]
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


def test_a_batch_with_labels_is_cut_alike():
    batch = data.Labelled(torch.arange(10.0).reshape(5, 2), torch.arange(5))
    parts = batch.chunk(2)
    assert [part.labels.tolist() for part in parts] == [[0, 1, 2], [3, 4]]
    assert [part.values[:, 0].tolist() for part in parts] == [[0, 2, 4], [6, 8]]


def test_scaled_losses_give_the_same_updates_and_leave_out_what_overflows(tiny):
    real = torch.rand(6, 3, 8, 8)
    plain, scaled = updates_of(tiny()), updates_of(tiny())
    scaled.scalers = {side: torch.amp.GradScaler("cpu", 2.0**10) for side in scaled.scalers}
    torch.manual_seed(3)
    expected = plain.turn(("discriminator", "generator"), 6, real)
    torch.manual_seed(3)
    assert scaled.turn(("discriminator", "generator"), 6, real) == pytest.approx(expected)
    state = plain.gan.state_dict()
    for name, value in scaled.gan.state_dict().items():
        torch.testing.assert_close(value, state[name], msg=name)

    before = {name: p.clone() for name, p in scaled.gan.module.named_parameters()}
    scaled.gan.generator[0].weight.register_hook(lambda slope: slope * math.inf)
    found = scaled.turn(("generator",), 6)
    assert "generator_gradient" not in found
    assert all(p.equal(before[name]) for name, p in scaled.gan.module.named_parameters())
    assert [s.get_scale() for s in scaled.scalers.values()] == [2.0**10, 2.0**9]

    again = updates_of(tiny())
    again.scalers = {side: torch.amp.GradScaler("cpu") for side in again.scalers}
    again.load_state_dict(scaled.state_dict())
    assert again.state_dict()["scalers"] == scaled.state_dict()["scalers"]


@pytest.mark.parametrize(
    ("settings", "consensus", "message"),
    [
        ({"precision": "16-mixed", "accelerator": "cpu"}, False, "16-mixed needs a CUDA GPU, got"),
        ({"accumulate": 4}, False, "accumulate must divide the batch of 6, got 4"),
        ({"accumulate": 2}, True, "accumulate must be 1, got 2"),
        ({"compile": True}, True, "have gradients in them, which compiled networks cannot"),
    ],
)
def test_what_cannot_be_is_refused(trainer, tiny, settings, consensus, message, tmp_path):
    gan = tiny()
    if consensus:
        gan.agree(1.0)
    with pytest.raises(ValueError, match=message):
        trainer(gan=gan, **settings)
    assert list(tmp_path.iterdir()) == []


def test_channels_last_is_a_layout_of_weights_and_images(trainer):
    runs = [trainer(str(last), channels_last=last, steps=2) for last in (False, True)]
    for run in runs:
        torch.manual_seed(0)
        run.run()
    for name, weight in runs[1].gan.named_parameters():
        if name == "generator.3.bias_conv.weight":
            assert weight.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(weight, runs[0].gan.get_parameter(name), msg=name)
    assert runs[1].gan.seen[0].is_contiguous(memory_format=torch.channels_last)


def test_compiled_networks_train_alike(tiny, pictures, monkeypatch):
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        nn.Module, "compile", functools.partialmethod(nn.Module.compile, backend=keep)
    )
    gan = tiny()
    accelerate(gan, pictures, TrainConfig(compile=True), batch_size=6)
    compiled, plain = updates_of(gan), updates_of(tiny())
    real = torch.rand(6, 3, 8, 8)
    for updates in (plain, compiled):
        torch.manual_seed(3)
        for side in ("discriminator", "generator", "discriminator"):
            updates.turn((side,), 6, real)
    assert gan.calls == plain.gan.module.calls
    used = {str(node.target) for graph in graphs for node in graph.graph.nodes}
    assert any("adaptive_conv" in target for target in used)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("cosine", [1, 0.8536, 0.5, 0.1464]),
    ],
)
def test_schedules(trainer, schedule, shares):
    rates = []
    run = trainer(schedule=schedule, steps=4)
    adam = run.updates.optimizers["generator"]
    adam.register_step_pre_hook(lambda *_: rates.append(adam.param_groups[0]["lr"]))
    run.run()
    assert rates == pytest.approx([2e-4 * share for share in shares], rel=1e-3)
    assert factor(schedule, 4)(9) == factor(schedule, 4)(4)


def test_the_mean_generator_draws_the_samples(trainer, tiny, monkeypatch):
    monkeypatch.setattr(models, "create", lambda **config: tiny())
    run = trainer(ema=0.75, steps=3)
    weights, mean = [], None
    run.updates.optimizers["generator"].register_step_post_hook(
        lambda *_: weights.append(run.gan.generator[0].weight.detach().clone())
    )
    run.run()
    for weight in weights:
        mean = weight if mean is None else 0.75 * mean + 0.25 * weight
    saved = Checkpoint.load(run.out / "checkpoint.safetensors")
    created = saved.create()
    torch.testing.assert_close(created.generator[0].weight.data, mean)
    assert saved.networks["generator.0.weight"].equal(weights[-1])
    assert run.gan.generator[0].weight.equal(weights[-1])
    with run.average.shown():
        assert sample(run.gan, run.latent).equal(sample(created, run.latent))


def test_a_trace_of_a_few_steps(trainer):
    run = trainer(profile=True, steps=6)
    run.run()
    events = json.loads((run.out / "trace.json").read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert [names.count(name) for name in ("data", "discriminator", "generator")] == [3, 3, 3]
