"""The page has what the runs have, says what they lack, and is readable in a browser."""

import base64
import re
import shutil
from pathlib import Path

import browser
import pytest
import torch

from adaconv import explore
from adaconv.cli import main
from adaconv.report import kernels, read_runs, save_report
from adaconv.train import Checkpoint, draw_metrics, grid
from adaconv.train.images import png


@pytest.fixture(scope="module")
def page(place) -> str:
    """All of the runs on one page."""
    save_report(read_runs(place / name for name in ("a&b", "codes", "points")), place / "all.html")
    return (place / "all.html").read_text()


def inlined(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_samples_over_time_are_the_files(place, page):
    for run, steps in (("a&b", (0, 2, 3)), ("codes", (0, 1)), ("points", (0, 1))):
        for step in steps:
            assert inlined((place / run / "samples" / f"{step:06d}.png").read_bytes()) in page


def test_walks_and_neighbours_are_the_models(place, page):
    gan = Checkpoint.load(place / "a&b" / "checkpoint.safetensors").create()
    subject = explore.Subject(gan, f"folder:{place}/pictures", rows=5)
    for name in ("spherical", "neighbours"):
        for row in explore.SHEETS[name].rows(subject):
            assert row.name in page
            for image in row.images:
                assert inlined(png(grid(image[None], gap=0))) in page
    assert "One code changes along a row" in page
    assert "this gan makes points: there are no images to look at" in page


def test_scores_come_with_their_protocol(page):
    for words in ("FID-some@8", "12.35 ± 0.5", "3.25", "of five &lt;parts&gt;",
                  "abababababab", "note: few images", "folder:pictures, train split"):  # fmt: skip
        assert words in page
    assert page.count("not evaluated yet: adaconv eval") == 2


def test_metrics_settings_and_machine(place, page):
    rows = {run.name: run.rows for run in read_runs(place / name for name in ("a&b", "codes"))}
    machine = rows["a&b"][0]["machine"]
    assert [("machine" in row) for row in rows["a&b"]] == [True, False, False]
    for words in (machine["processor"], machine["system"], "regressor", "infogan", "toy2d:ring"):
        assert words in page
    assert "a&b" not in page.replace("a&amp;b", "")
    drawings = draw_metrics(rows)
    assert {"losses", "norms of gradients", "real images per second"} <= set(drawings)
    names = [set(re.findall(r'id="([^"]+)"', drawing)) for drawing in drawings.values()]
    assert len(set.union(*names)) == sum(map(len, names))  # one page may have all
    for drawing in drawings.values():
        assert "#000000" not in drawing
        assert ">step</text>" in drawing


def test_kernels_are_those_of_the_steps(place, monkeypatch):
    (run,) = read_runs([place / "a&b"])
    gan = run.checkpoint.create()
    before = {name: value.clone() for name, value in gan.state_dict().items()}
    dataset = explore.Subject(gan, f"folder:{place}/pictures").dataset
    monkeypatch.setattr(kernels, "NAMED", 9999)
    found = kernels.measure(gan, dataset, 1, batch_size=4, n_dis=2)
    assert sum(kernel.share for kernel in found.kernels) == pytest.approx(1)
    calls = {kernel.name: kernel.calls for kernel in found.kernels}
    # two updates of the discriminator and one of the generator draw samples
    assert calls["adaconv::adaptive_conv2d"] == 3
    assert calls["adaconv::adaptive_conv2d_backward"] == 1
    assert 0 < found.ours < 1
    assert all(torch.equal(value, before[name]) for name, value in gan.state_dict().items())


@pytest.mark.skipif(browser.find() is None, reason="there is no Chromium")
def test_in_a_browser(place, page, tmp_path):
    shown = browser.Browser(browser.find(), tmp_path / "profile")
    try:
        for width, scheme, scripts in ((1280, "light", True), (390, "dark", False)):
            look = shown.open(place / "all.html", width, scheme=scheme, scripts=scripts)
            assert shown.errors == []
            assert {url for url in shown.requests if not url.startswith("data:")} == {
                (place / "all.html").as_uri()
            }
            assert len(look["pictures"]) == page.count("<img ") > 100
            assert min(look["pictures"]) > 0
            assert look["width"] <= width
            assert "Kernels of a training step" in look["text"]
        # the test itself would notice
        broken = page.replace("data:image/png;base64,", "data:image/png;base64,A", 1)
        broken = broken.replace("</html>", "<pre>" + "wide" * 99 + "</pre><script>no()</script>")
        (tmp_path / "broken.html").write_text(broken)
        look = shown.open(tmp_path / "broken.html", 390)
        assert shown.errors
        assert min(look["pictures"]) == 0
        assert look["width"] > 390
    finally:
        shown.close()


def test_what_a_run_lacks_is_said(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "a&b", "bare")
    shutil.rmtree("bare/samples")
    Path("bare/scores.jsonl").unlink()
    Path("bare/metrics.jsonl").write_text('{"step": 3}\n')
    arguments = "--profile-steps 0 --data folder:gone"
    assert main(["report", "bare", "--out", "bare.html", *arguments.split()]) == 0
    assert capsys.readouterr().out == "bare: page in bare.html\n"
    page = Path("bare.html").read_text()
    for words in ("not evaluated yet", "no pictures in bare/samples", "gone", "left out, as was",
                  "nothing to draw", "do not say what the runs were computed with"):  # fmt: skip
        assert words in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of a run at least"),
        (["nowhere"], "there is no run at nowhere"),
        (["empty"], "empty is no run: it has no metrics.jsonl and no checkpoint.safetensors"),
        (["half"], "half is half a run: it has no checkpoint.safetensors"),
        (["damaged"], "checkpoint.safetensors is damaged or no checkpoint"),
        (["scored"], "scores.jsonl must hold lines of scores, each with: checkpoint, data, "),
        (["whole", "../{}/whole"], "must be different ones, got ../{}/whole twice"),
        (["whole", "--out", "no/where.html"], "existing folder, got no/where.html"),
        (["whole", "--profile-steps", "-1"], "must be at least 0, got -1"),
    ],
)
def test_refuses(arguments, message, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "half", "damaged", "scored", "whole"):
        Path(name).mkdir()
    for name in ("half", "damaged", "scored", "whole"):
        shutil.copy(place / "a&b" / "metrics.jsonl", name)
    for name in ("scored", "whole"):
        shutil.copy(place / "a&b" / "checkpoint.safetensors", name)
    Path("damaged/checkpoint.safetensors").write_text("no checkpoint")
    Path("scored/scores.jsonl").write_text('{"metric": "FID"}\n')
    before = sorted(tmp_path.rglob("*"))
    arguments = [argument.format(tmp_path.name) for argument in arguments]
    assert main(["report", *arguments]) == 2
    assert message.format(tmp_path.name) in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_runs_of_one_name_are_told_apart(place, tmp_path):
    shutil.copytree(place / "points", tmp_path / "points")
    names = [run.name for run in read_runs([place / "points", tmp_path / "points"])]
    assert names == [str(place / "points"), str(tmp_path / "points")]
