import json
import signal
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import adaconv
from adaconv import data
from adaconv.train import (
    Checkpoint,
    CheckpointError,
    TrainConfig,
    Trainer,
    TrainingDivergedError,
    TrainingInterruptedError,
    grid,
    sample,
)


def assert_same_state(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal to the bit."""
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_steps_are_those_of_a_plain_loop(trainer, tiny, pictures):
    trained = trainer(steps=3, n_dis=2, seed=5)
    torch.manual_seed(11)
    trained.run()

    gan = tiny()
    adam = gan.optimizers()
    batches = data.loader(pictures, gan.batch_size, seed=5)
    torch.manual_seed(11)
    with adaconv.backend("reference"):
        for _ in range(3):
            for real in islice(batches, 2):
                adam["discriminator"].zero_grad()
                gan.discriminator_loss(real, torch.randn(6, 4)).backward()
                adam["discriminator"].step()
            adam["generator"].zero_grad()
            gan.generator_loss(torch.randn(6, 4)).backward()
            adam["generator"].step()
    assert_same_state(trained.gan.state_dict(), gan.state_dict())


def test_updates_alternate_on_new_images(trainer):
    run = trainer(steps=3, n_dis=2)
    run.run()
    assert [name for name, _ in run.gan.calls] == [
        "discriminator",
        "discriminator",
        "generator",
    ] * 3
    # 20 pictures in batches of 6: within an epoch of three batches none comes twice
    first = torch.cat(run.gan.seen[:3])
    assert len(first.flatten(1).unique(dim=0)) == 18


def test_each_update_changes_its_own_network_only(trainer, pictures):
    run = trainer()

    def changed(update, *arguments) -> set[str]:
        before = {k: v.clone() for k, v in run.gan.named_parameters()}
        update(*arguments)
        return {k.split(".")[0] for k, v in run.gan.named_parameters() if not v.equal(before[k])}

    real = torch.stack([pictures[i] for i in range(6)])
    assert changed(run.updates.turn, ("discriminator",), 6, real) == {"discriminator"}
    assert changed(run.updates.turn, ("generator",), 6) == {"generator"}


def test_metrics(trainer):
    run = trainer(steps=5, log_every=2)
    run.run()
    lines = rows(run.out)
    assert [line["step"] for line in lines] == [2, 4, 5]
    for side in ("discriminator", "generator"):
        losses = [value for name, value in run.gan.calls if name == side]
        means = [sum(losses[:2]) / 2, sum(losses[2:4]) / 2, losses[4]]
        assert [line[f"{side}_loss"] for line in lines] == pytest.approx(means, abs=1e-6)
    for line in lines:
        shares = [line[f"{name}_share"] for name in ("data", "discriminator", "generator")]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert min(shares) > 0
        assert line["images_per_second"] > 0
        assert 1 < line["peak_memory_mib"] < 10**6
    assert 0 < lines[0]["seconds"] < lines[1]["seconds"] < lines[2]["seconds"]


def test_samples_show_the_same_latents_at_intervals(trainer):
    run = trainer(steps=5, sample_every=2)
    start = sample(run.gan, run.latent)
    run.run()
    names = sorted(path.name for path in (run.out / "samples").iterdir())
    assert names == ["000000.png", "000002.png", "000004.png", "000005.png"]
    for name, images in (("000000.png", start), ("000005.png", sample(run.gan, run.latent))):
        picture = np.asarray(Image.open(run.out / "samples" / name))
        assert np.array_equal(picture, grid(images).numpy())
    last = (run.out / "samples" / "000005.png").read_bytes()
    assert (run.out / "samples.png").read_bytes() == last


def test_sampling_leaves_the_training_mode_and_statistics(tiny):
    gan = tiny()
    before = {k: v.clone() for k, v in gan.state_dict().items()}
    together = sample(gan, gan.latent(70))
    assert together.shape == (70, 3, 8, 8)
    assert gan.generator.training
    assert_same_state(gan.state_dict(), before)


def test_resumed_run_equals_the_one_that_was_not_stopped(trainer):
    whole = trainer("whole", steps=8, log_every=2, checkpoint_every=3)
    whole.run()

    trainer("parts", steps=4, log_every=2).run()
    torch.manual_seed(999)  # another process would have another random state
    second = trainer("parts", steps=8, log_every=2)
    second.run(resume=True)

    assert_same_state(second.gan.state_dict(), whole.gan.state_dict())
    for side, optimizer in whole.updates.optimizers.items():
        expected = optimizer.state_dict()["state"]
        for index, state in second.updates.optimizers[side].state_dict()["state"].items():
            assert_same_state(state, expected[index])
    losses = [
        [(line["step"], line["discriminator_loss"], line["generator_loss"]) for line in rows(out)]
        for out in (whole.out, second.out)
    ]
    assert losses[0] == losses[1]


def test_resumption_drops_the_metrics_behind_the_checkpoint(trainer):
    trainer(steps=4, log_every=2).run()
    with trainer().metrics.path.open("a") as file:
        file.write('{"step": 5, "generator_loss": 1.0}\n{"step": 6, "gene')
    trainer(steps=8, log_every=2).run(resume=True)
    assert [line["step"] for line in rows(trainer().out)] == [2, 4, 6, 8]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_after_the_step(trainer, number, capfd):
    handler = signal.getsignal(number)
    whole = trainer("whole", steps=6)
    whole.run()

    stopped = trainer("stopped", steps=6)
    stopped.gan.hook = lambda side, count: (
        signal.raise_signal(number) if (side, count) == ("discriminator", 2) else None
    )
    with pytest.raises(TrainingInterruptedError, match=f"{number.name} after step 3"):
        stopped.run()
    assert signal.getsignal(number) is handler
    assert "once more" in capfd.readouterr().err
    assert Checkpoint.load(stopped.out / "checkpoint.safetensors").step == 3
    assert rows(stopped.out)[-1]["step"] == 3

    resumed = trainer("stopped", steps=6)
    assert resumed.run(resume=True).steps == 6
    assert_same_state(resumed.gan.state_dict(), whole.gan.state_dict())


@pytest.fixture
def interruptible():
    """Take Ctrl-C as Python does, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_second_signal_acts_at_once(trainer, interruptible):
    run = trainer()

    def twice(side: str, count: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    run.gan.hook = twice
    with pytest.raises(KeyboardInterrupt):
        run.run()


@pytest.mark.parametrize("side", ["discriminator", "generator"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_diverged_loss_stops_and_keeps_the_checkpoint(trainer, side, value, monkeypatch):
    run = trainer(steps=8, checkpoint_every=2)
    compute = getattr(run.gan, f"{side}_loss")

    def loss(**inputs: Tensor) -> Tensor:
        done = Counter(name for name, _ in run.gan.calls)[side]
        return compute(**inputs) + (value if done == 4 else 0)

    monkeypatch.setattr(run.gan, f"{side}_loss", loss)
    with pytest.raises(TrainingDivergedError, match=f"step 5: the {side}'s loss is {value}"):
        run.run()
    kept = Checkpoint.load(run.out / "checkpoint.safetensors")
    assert kept.step == 4
    assert all(v.isfinite().all() for v in kept.networks.values())


def test_diverged_weights_are_not_saved(trainer):
    run = trainer(steps=8, checkpoint_every=2)

    def spoil(side: str, count: int) -> None:
        if (side, count) == ("generator", 3):
            run.gan.discriminator[2].bias.data.fill_(float("nan"))

    run.gan.hook = spoil
    with pytest.raises(TrainingDivergedError, match=r"step 4: discriminator\.2\.bias.*not finite"):
        run.run()
    assert Checkpoint.load(run.out / "checkpoint.safetensors").step == 2


def test_folder_in_use_is_left_alone(trainer, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    before = files(tmp_path)
    with pytest.raises(ValueError, match="not empty: resume, or name another"):
        trainer().run()
    with pytest.raises(
        ValueError, match=r"nothing to resume: .*checkpoint\.safetensors does not exist"
    ):
        trainer().run(resume=True)
    with pytest.raises(ValueError, match="must be a folder, got the file"):
        trainer("run/thesis.tex").run()
    assert files(tmp_path) == before


def test_empty_folder_is_used(trainer, tmp_path):
    (tmp_path / "run").mkdir()
    trainer(steps=1).run()
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "seed=0, expected seed=1"),
        ({"batch_size": 5}, "batch_size=6, expected batch_size=5"),
        ({"n_dis": 3}, "n_dis=1, expected n_dis=3"),
        ({"ema": 0.9}, "ema=None, expected ema=0.9"),
        ({"schedule": "linear"}, "'constant', expected schedule='linear over 8 steps'"),
    ],
)
def test_checkpoint_of_another_run_is_refused(trainer, tmp_path, settings, message):
    trainer().run()
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        trainer(steps=8, **settings).run(resume=True)
    assert files(tmp_path) == before


def test_checkpoint_of_another_model_is_refused(trainer, tiny, tmp_path):
    trainer().run()
    before = files(tmp_path)
    with pytest.raises(CheckpointError, match=r"another model: it holds tiny\(.*width=2"):
        trainer(gan=tiny(width=2)).run(resume=True)
    assert files(tmp_path) == before


def test_data_must_fit_the_model(tiny, tmp_path):
    points = data.PointData("points", "train", "none", torch.zeros(10, 2))
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\), got data of shape \(2,\) \(points\)"):
        Trainer(tiny(), points, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_comparison_is_reported_and_leaves_the_model_alone(trainer, monkeypatch):
    run = trainer(steps=2, backend=None, compare="reference")
    monkeypatch.setattr(run, "backend", "cpu")  # whether or not it is there: the steps are faked
    seconds = {"cpu": 0.5, "reference": 2.0}
    monkeypatch.setattr(
        "adaconv.train.comparison._timed_step", lambda updates, name, batches: seconds[name]
    )
    summary = run.run()
    expected = {
        "backend": "cpu",
        "against": "reference",
        "images_per_second": 12.0,
        "against_images_per_second": 3.0,
        "rounds": 5,
        "ratio": 4.0,
    }
    assert rows(run.out)[-1]["comparison"] == expected
    assert "4.00 times as fast" in str(summary)
    saved = Checkpoint.load(run.out / "checkpoint.safetensors")
    assert_same_state(run.gan.state_dict(), saved.networks)


def test_no_comparison_of_a_backend_with_itself(trainer):
    summary = trainer(steps=1, compare="reference").run()
    assert summary.comparison is None
    assert "times as fast" not in str(summary)


def test_summary_names_everything(trainer):
    run = trainer(steps=3)
    summary = run.run()
    text = str(summary)
    assert "pictures: 20 images of 8x8" in text
    assert (summary.model, summary.backend, summary.steps) == ("tiny", "reference", 3)
    for path in (summary.samples, summary.metrics, summary.checkpoint):
        assert path.is_file()
        assert str(path) in text


@pytest.mark.parametrize("name", ["steps", "batch_size", "n_dis", "log_every", "samples"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        TrainConfig(**{name: 0})
    with pytest.raises(ValueError, match="ema must lie between 0 and 1, got 1"):
        TrainConfig(ema=1)


def test_mixed_precision_computes_in_bfloat16_and_keeps_single_precision_weights(trainer):
    single, mixed = trainer("single"), trainer("mixed", precision="bf16-mixed")
    for run in (single, mixed):
        run.gan.discriminator[1].p = 0.0  # what is dropped depends on the precision
        torch.manual_seed(0)
        run.run()
    assert {p.dtype for p in mixed.gan.parameters()} == {torch.float32}
    for (name, loss), (_, rounded) in zip(single.gan.calls[:4], mixed.gan.calls[:4], strict=True):
        assert rounded == pytest.approx(loss, rel=0.05), name
    assert single.gan.calls != mixed.gan.calls
