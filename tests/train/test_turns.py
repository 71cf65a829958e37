"""The turns of a training: at once, by a schedule, of three sides, and with tricks."""

import types

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import adaconv
from adaconv import data, models
from adaconv.models import GAN
from adaconv.models._shown import Judged
from adaconv.models._tricks import GradientPenalty, Trick, WeightClipping
from adaconv.train import Checkpoint
from adaconv.train.comparison import timed_step
from adaconv.train.updates import Updates


class Counter(Trick):
    """Adds a constant to each loss, and counts updates."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("updates", torch.zeros(2))

    def discriminator_term(self, gan: GAN, real: Judged, fake: Judged) -> Tensor:
        return fake.logits.new_tensor(3.0)

    def generator_term(self, gan: GAN, real: Judged | None, fake: Judged) -> Tensor:
        return fake.logits.new_tensor(5.0)

    def after_update(self, gan: GAN, side: str) -> None:
        self.updates[gan.sides.index(side)] += 1


def test_all_at_once_is_a_plain_loop(trainer, tiny, pictures):
    gan = tiny()
    gan.simultaneous = True
    trained = trainer(gan=gan, steps=3)
    torch.manual_seed(11)
    trained.run()

    plain = tiny()
    adam = plain.optimizers().values()
    batches = data.loader(pictures, 6, seed=0)
    torch.manual_seed(11)
    with adaconv.backend("reference"):
        for _ in range(3):
            latent = torch.randn(6, 4)
            plain.zero_grad()
            plain.discriminator_loss(next(batches), latent).backward()
            plain.generator_loss(latent).backward()
            for optimizer in adam:
                optimizer.step()
    for name, value in plain.state_dict().items():
        assert torch.equal(gan.state_dict()[name], value), name


def test_at_once_and_in_turn_differ(trainer, tiny):
    states = []
    for at_once in (True, False):
        gan = tiny()
        gan.simultaneous = at_once
        torch.manual_seed(0)
        trainer(str(at_once), gan, steps=2).run()
        states.append(gan.generator[0].weight)
    assert not torch.equal(*states)


def test_at_once_has_no_number_of_discriminator_steps(trainer, tiny):
    gan = tiny()
    gan.simultaneous = True
    with pytest.raises(ValueError, match="sides of tiny move at once: n_dis must be 1, got 2"):
        trainer(gan=gan, n_dis=2)


def test_comparison_takes_the_turns_of_the_model(tiny, pictures):
    gan = tiny()
    batches = [torch.rand(6, 3, 8, 8), torch.rand(6, 3, 8, 8)]
    step = timed_step(Updates(Fabric(accelerator="cpu", devices=1), gan), batches)
    assert [name for name, _ in gan.calls] == ["discriminator", "discriminator", "generator"]
    assert step.losses == tuple(loss for _, loss in gan.calls)
    assert all(torch.equal(seen, given) for seen, given in zip(gan.seen, batches, strict=True))
    gan.simultaneous = True
    gan.calls.clear()
    step = timed_step(Updates(Fabric(accelerator="cpu", devices=1), gan), batches[:1])
    assert step.losses == tuple(loss for _, loss in gan.calls)
    assert len(step.losses) == 2


def test_comparison_of_a_generator_that_learns_from_data():
    gan = models.create("gan", 8, 0.01, tricks=["feature-matching"])
    updates = Updates(Fabric(accelerator="cpu", devices=1), gan)
    assert len(timed_step(updates, [torch.rand(6, 3, 8, 8)]).losses) == 2


def test_schedule_is_kept_over_a_resumption(trainer, tiny):
    def scheduled() -> GAN:
        gan = tiny()
        gan.discriminator_steps = lambda step, n_dis: 3 if step % 2 else n_dis
        return gan

    def calls(gan: GAN) -> str:
        return "".join(name[0] for name, _ in gan.calls)

    gan = scheduled()
    trainer(gan=gan, steps=3).run()
    assert calls(gan) == "dddg" + "dg" + "dddg"
    gan = scheduled()
    trainer(gan=gan, steps=5).run(resume=True)
    assert calls(gan) == "dg" + "dddg"


def test_a_third_side(trainer, tiny):
    gan = tiny()
    gan.sides = ("discriminator", "generator", "code")
    gan.code = nn.Linear(3 * 8**2, 4)
    two = gan.optimizers
    gan.optimizers = lambda: {**two(), "code": gan.optimizer(gan.code.parameters())}

    def code_loss(self: GAN, latent: Tensor) -> Tensor:
        return (self.code(self.generator(latent).detach().flatten(1)) - latent).square().mean()

    gan.code_loss = types.MethodType(code_loss, gan)
    before = gan.code.weight.clone()
    run = trainer(gan=gan, steps=2, log_every=1)
    run.run()
    assert not torch.equal(gan.code.weight, before)
    row = run.metrics.path.read_text().splitlines()[-1]
    assert "code_loss" in row
    assert "code_share" in row


def test_tricks_add_terms_and_their_state_is_resumed(trainer, tiny):
    def tricky() -> GAN:
        gan = tiny()
        gan.tricks.append(Counter())
        return gan

    plain, gan = tiny().eval(), tricky().eval()
    real, latent = torch.rand(6, 3, 8, 8), plain.latent(6)
    for added, name, given in (
        (3, "discriminator_loss", (real, latent)),
        (5, "generator_loss", (latent,)),
    ):
        expected = getattr(plain, name)(*given) + added
        assert getattr(gan, name)(*given).item() == pytest.approx(expected.item())
    run = trainer(gan=tricky(), steps=2, n_dis=2)
    run.run()
    saved = Checkpoint.load(run.out / "checkpoint.safetensors").networks
    assert saved["tricks.0.updates"].tolist() == [4, 2]
    again = trainer(gan=tricky(), steps=3, n_dis=2)
    again.run(resume=True)
    assert again.gan.tricks[0].updates.tolist() == [6, 3]


def test_clipping_and_penalty(trainer, tiny):
    gan = tiny(loss="wasserstein")
    gan.tricks.extend([WeightClipping(0.01), GradientPenalty(10.0)])
    run = trainer(gan=gan, steps=2, log_every=1)
    run.run()
    assert max(p.abs().max().item() for p in gan.discriminator.parameters()) <= 0.01
    assert gan.generator[0].weight.abs().max() > 0.01
    # without the dropout the penalty can be told from its parts
    gan.discriminator[1].p = 0.0
    real, latent = torch.rand(6, 3, 8, 8), gan.latent(6)
    with_penalty = gan.discriminator_loss(real, latent).item()
    norm = gan.discriminator[2].weight.norm().item()  # a linear critic's slope everywhere
    estimate = gan.observed["wasserstein_estimate"].item()
    assert with_penalty == pytest.approx(10 * (norm - 1) ** 2 - estimate, rel=1e-4)
    assert "wasserstein_estimate" in run.metrics.path.read_text()
