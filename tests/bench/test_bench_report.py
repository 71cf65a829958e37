import io
import json
from dataclasses import replace

import pytest
from adaconv_bench import database, plot
from adaconv_bench.gate import Verdict
from adaconv_bench.race import BACKWARD, FORWARD, STEP
from adaconv_bench.results import Report, Row, replace_file
from adaconv_bench.table import WIDTH, show
from adaconv_bench.timing import Ratio, Summary
from matplotlib.figure import Figure
from rich.console import Console

GREEN = Verdict({"fp64 y": 1e-7}, {"fp64 y": 1e-6})
RED = Verdict({"fp64 y": 1e-2}, {"fp64 y": 1e-6})
MACHINE = {
    "cpu": "A processor [of some kind]",
    "threads": 2,
    "dtype": "float32",
    "torch": "2.0",
    "adaconv": "0.0",
    "adaconv_simd": "avx2",
}


def row(
    provider, direction, milliseconds=None, ratio=None, verdict=GREEN, failure=None, memory=None
):
    seconds = None if milliseconds is None else Summary.of([milliseconds / 1e3])
    speedup = None if ratio is None else Ratio(ratio, ratio + 0.25)
    return Row(
        "L1", "4→4 @8²", provider, direction, 2, "float32", 2, seconds, speedup,
        memory=memory, verdict=verdict, failure=failure,
    )  # fmt: skip


def report(*rows: Row) -> Report:
    return Report("adaptive_conv", "tiny", MACHINE, {"torch.mm, GFLOP/s": 123.4}, rows, ("a note",))


def good() -> Report:
    return report(
        row("adaconv", FORWARD, 12.0),
        row("eager", FORWARD, 36.0, ratio=3.0),
        row("adaconv", STEP, 50.0, memory=10.0),
        row("eager", STEP, 200.0, ratio=4.0, memory=40.0),
    )


def printed(given: Report) -> str:
    console = Console(width=WIDTH, record=True, file=io.StringIO())
    show(given, console)
    return console.export_text()


def test_the_table_leads_with_ratios_and_says_what_they_come_from():
    text = printed(good())
    assert "A processor [of some kind], 2 threads, float32, torch 2.0" in text
    assert "3.00 / 3.25" in text
    assert "36.0 (36.0 – 36.0)" in text
    assert "limit, measured between the others: torch.mm, GFLOP/s 123" in text
    assert "forward+backward: 4.00 times faster than eager, in 25.0% of its memory" in text
    assert "gate: green, 2 checks" in text
    assert "a note" in text


def test_columns_without_a_number_are_left_out():
    text = printed(good())
    assert "MiB" in text
    assert "of mm" not in text
    assert "of FMA" not in text


def test_a_wrong_result_has_no_ratio_and_turns_the_report_red():
    given = report(row("adaconv", STEP), row("eager", STEP, verdict=RED))
    text = printed(given)
    assert "wrong result" in text
    assert "gate: L1, eager: red: fp64 y is off by 0.01, allowed 1e-06" in text
    assert not given.green


def test_a_comparison_that_cannot_run_says_why_and_is_no_fault():
    given = report(
        row("adaconv", STEP, 12.0),
        row("compile", STEP, verdict=Verdict(), failure="no [compiler]"),
    )
    text = printed(given)
    assert "cannot run" in text
    assert "L1, compile cannot run: no [compiler]" in text
    assert given.green


def test_adaconv_that_cannot_run_is_a_fault():
    given = report(row("adaconv", STEP, verdict=Verdict(), failure="it broke"))
    assert not given.green
    assert "gate: red, adaconv could not run" in printed(given)


def test_an_empty_report_is_not_green():
    assert not report().green


def test_the_plot_draws_each_ratio_in_the_panel_of_its_direction():
    panel = Figure().subplots()
    lines = [line for line in database.records(good()) if line["direction"] == STEP]
    plot.bars(panel, lines, ["eager", "compile"])
    assert [bar.get_height() for bar in panel.patches] == [4.0, 0.0]
    assert "4.0" in [text.get_text() for text in panel.texts]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["L1\n4→4\n@8²"]


def test_the_plot_is_a_png_file(tmp_path):
    database.write(database.records(good()), tmp_path / "lines.csv")
    plot.main([str(tmp_path / "lines.csv"), str(tmp_path / "new" / "plot.png")])
    assert (tmp_path / "new" / "plot.png").read_bytes().startswith(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match="no results"):
        plot.draw([], tmp_path / "plot.png")
    with pytest.raises(SystemExit, match="usage"):
        plot.main([])


def test_csv_keeps_every_number_that_was_timed(tmp_path):
    lines = database.records(report(*good().rows, row("compile", STEP, failure="no compiler")))
    database.write(lines, tmp_path / "lines.csv")
    assert database.read(tmp_path / "lines.csv") == lines
    assert [(line["provider"], line["direction"]) for line in lines] == [
        ("adaconv", FORWARD), ("eager", FORWARD), ("adaconv", STEP), ("eager", STEP),
    ]  # fmt: skip
    last = lines[-1]
    assert (last["operator"], last["case"], last["shape"]) == ("adaptive_conv", "L1", "4→4 @8²")
    assert (last["batch"], last["dtype"], last["threads"]) == ("2", "float32", "2")
    assert (last["median_ms"], last["p20_ms"], last["memory_mib"]) == ("200", "200", "40")
    assert (last["machine"], last["torch"]) == ("A processor [of some kind] (avx2)", "2.0")
    assert (last["speedup"], last["rounds"], lines[0]["speedup"]) == ("4", "1", "")
    (tmp_path / "other.csv").write_text("operator,provider\n")
    with pytest.raises(ValueError, match="must have the columns direction, case"):
        database.read(tmp_path / "other.csv")


def swept() -> Report:
    """Two cases of one dimension, the second a cliff in the backward pass."""
    found = [("1", FORWARD, 0.9), ("1", BACKWARD, 0.8), ("2", FORWARD, 0.7), ("2", BACKWARD, 0.6)]
    rows = [
        replace(
            row("adaconv", direction, 10.0), case=f"D: {value}", dimension="D", value=value,
            nearest="L3", of_nearest=fraction, gflops=200.0, used_gflops=100.0 * fraction,
            of_fma=0.8, used_of_fma=0.4 * fraction,
        )
        for value, direction, fraction in found
    ]  # fmt: skip
    return report(*rows)


def test_a_sweep_shows_what_each_case_is_of_the_nearest_and_names_the_cliffs():
    text = printed(swept())
    assert "90% L3" in text
    assert "80% / 36%" in text
    assert text.count("cliff:") == 1
    assert "cliff: D: 2, backward: 60% of the rate of L3" in text


def test_a_sweep_is_plotted_as_rates_with_the_line_below_which_a_cliff_lies(tmp_path):
    lines = database.records(swept())
    panel = Figure().subplots()
    plot.rates(panel, lines)
    drawn = {line.get_label(): list(line.get_ydata()) for line in panel.lines}
    assert drawn["backward"] == [80.0, 60.0]
    assert drawn["backward: 1/1.5 of the nearest tuned shape"] == pytest.approx([200 / 3] * 2)
    plot.draw(lines, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_json_holds_every_number(tmp_path):
    good().write_json(tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["machine"] == MACHINE
    assert content["green"] is True
    last = content["rows"][-1]
    assert (last["provider"], last["direction"]) == ("eager", "forward+backward")
    assert last["seconds"] == {"median": 0.2, "p20": 0.2, "p80": 0.2, "count": 1}
    assert last["speedup"] == {"medians": 4.0, "pairs": 4.25}
    assert last["memory"] == 40.0
    assert last["verdict"] == {"errors": {"fp64 y": 1e-7}, "bounds": {"fp64 y": 1e-6}}


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "taken", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
