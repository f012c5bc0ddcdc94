"""What is printed for people arrives on any terminal, stream and encoding, whatever the texts hold."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from energy_flow.data import PairData, PairSet, TextBank
from energy_flow.training import ProgressBar
from energy_flow.training.run.observers import Example
from energy_flow.training.run.tensorboard_curves import TensorBoardCurves
from energy_flow.utils.console import PlainConsole, printable
from energy_flow.viz import cost_table, examples_table, metrics_table

from .resume_worker import data
from .test_run_goes_on import trainer_of

ROOT = Path(__file__).parent.parent
HARD = ["[/INST] close", "[sic]", ":smile:", "naïve 定義 – “quoted”", "half a pair \ud83d", "tab\tand\x07bell"]
RECORD = {
    "step": 8.0,
    "epoch": 2.0,
    "loss": 1.0,
    "live": 1.0,
    "mean_level": 1.0,
    "arrived_share": 1.0,
    "flow_steps_per_second": 1.0,
    "memory_bytes": 1.0,
}


def stream(encoding: str) -> tuple[io.BytesIO, io.TextIOWrapper]:
    content = io.BytesIO()
    return content, io.TextIOWrapper(content, encoding=encoding, errors="strict", write_through=True)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_progress_prints_any_text_on_any_stream(encoding: str, terminal: bool) -> None:
    content, file = stream(encoding)
    bar = ProgressBar(Console(file=file, force_terminal=terminal, width=200))
    bar.start(10)
    bar.observe([RECORD])
    bar.validate({"step": 8.0, "epoch": 2.0, "loss": 1.0}, [Example(text, text, (text,)) for text in HARD])
    bar.close()
    printed = content.getvalue().decode(encoding)
    for word in ("[/INST]", "[sic]", ":smile:", "quoted"):
        assert word in printed


def test_a_run_with_hard_texts_trains_on_a_windows_console(tmp_path) -> None:
    texts = [f"{HARD[row % len(HARD)]} {row}" for row in range(10)]
    one = data()
    named = PairSet(one.validation.inputs, one.validation.targets, texts, texts)
    content, file = stream("cp1252")
    trainer = trainer_of(tmp_path / "run", observers=[ProgressBar(Console(file=file))])
    result = trainer.fit(PairData("hard", one.train, named, named, TextBank(texts, named.targets)))
    assert result.steps == 12
    assert content.getvalue().count(b"validation:") == 3
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_tables_show_brackets_as_they_are() -> None:
    tables: list[Table] = [
        examples_table("[title]", [(text, text, [text, "[b]x"]) for text in HARD[:4]]),
        metrics_table("runs/[a]/best", {"[lattice]": {"[loss]": 1.0}}),
        cost_table("[debug]", {"[part]": 1}, {"[part]": 2}),
    ]
    for table, words in zip(
        tables, (HARD[:2], ["runs/[a]/best", "[lattice]", "[loss]"], ["[debug]", "[part]"]), strict=True
    ):
        file = io.StringIO()
        Console(file=file, width=200).print(table)
        assert all(word in file.getvalue() for word in words)


def test_the_right_text_among_the_nearest_is_bold() -> None:
    file = io.StringIO()
    Console(file=file, width=200, force_terminal=True).print(examples_table("t", [("given", "[w]", ["other", "[w]"])]))
    assert "\x1b[1m[w]\x1b[0m" in file.getvalue()


def test_lines_take_the_place_of_the_bar_where_there_is_no_terminal() -> None:
    file = io.StringIO()
    bar = ProgressBar(Console(file=file, width=200), every=3)
    bar.start(10)
    for step in range(1, 11):
        bar.observe([RECORD | {"step": float(step)}])
    bar.close()
    assert [line.split()[1] for line in file.getvalue().splitlines()] == ["1", "4", "7", "10"]
    file = io.StringIO()
    bar = ProgressBar(Console(file=file, width=200))
    bar.start(100_000)
    for step in range(0, 100_000, 10):
        bar.observe([RECORD | {"step": float(step)}] * 10)
    assert 90 <= len(file.getvalue().splitlines()) <= 110


def test_what_an_encoding_does_not_have_is_escaped() -> None:
    assert printable("é – 定", "cp1252") == "é – \\u5b9a"
    assert printable("half \ud83d") == "half \\ud83d"


def test_tensorboard_takes_half_a_pair(tmp_path) -> None:
    curves = TensorBoardCurves(tmp_path / "curves")
    curves.validate({"step": 1.0, "loss": 1.0}, [Example("half \ud83d", "x", ("y",))])
    curves.close()
    (events,) = (tmp_path / "curves").glob("events*")
    assert b"half \\ud83d" in events.read_bytes()


def test_a_reader_that_is_gone_raises_where_rich_would_end_the_process() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = PlainConsole()
    console.file = Gone()
    with pytest.raises(BrokenPipeError):
        console.print(Text("words"))


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of the shell")
@pytest.mark.parametrize("arguments", ["train --help"])
def test_a_closed_pipe_is_no_traceback(arguments: str) -> None:
    command = f"{sys.executable} -m energy_flow {arguments} | head -c 1"
    ran = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.stderr == ""


def test_training_goes_on_where_nobody_reads_its_output(tmp_path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = PlainConsole()
    console.file = Gone()
    assert trainer_of(tmp_path / "run", observers=[ProgressBar(console)]).fit(data()).steps == 12
