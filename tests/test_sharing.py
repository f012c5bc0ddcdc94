"""Models in folders and on the hub: the same model comes back, nothing is half there, and the card says what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from energy_flow import EnergyTrainer, FlowProcessor, create_config, create_processor
from energy_flow.cli import main
from energy_flow.sharing import CARD, CONFIG, WEIGHTS, ModelCard, Score, read_weights
from energy_flow.utils import files

from .hub_stand_in import hub_stand_in

CONFIGURATION = create_config(
    "tiny", input_embedding_dim=16, output_embedding_dim=16, carrier_hidden_size=8, carrier_num_layers=1
)
ROWS = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
CARD_OF_TESTS = ModelCard(
    name="a test",
    what="maps rows to rows",
    data="rows",
    command="make it",
    seed=3,
    scores=[Score("cosine", "test split", 0.5, 0.4, 0.625, 40, 5)],
    machine={"processor": "one"},
    licence="apache-2.0",
)


@pytest.fixture
def model() -> FlowProcessor:
    return create_processor(CONFIGURATION)


def test_a_model_comes_back_from_its_folder(model: FlowProcessor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "new" / "model")
    found = FlowProcessor.from_pretrained(tmp_path / "new" / "model")
    assert not found.training
    assert found.config == model.config
    assert {path.name for path in (tmp_path / "new" / "model").iterdir()} == {WEIGHTS, CONFIG, CARD}
    torch.testing.assert_close(found(ROWS), model.eval()(ROWS), rtol=0, atol=0)


def test_what_is_shared_has_the_averaged_weights(tmp_path: Path) -> None:
    config = CONFIGURATION.replace(ema_decay=0.9, batch_size=8, learning_rate=1e-2)
    trainer = EnergyTrainer(create_processor(config), config)
    trainer.train(torch.randn(32, 16), torch.randn(32, 16), epochs=1)
    judged = trainer.judged_model()
    trainer.save(tmp_path)
    torch.testing.assert_close(judged(ROWS), FlowProcessor.from_pretrained(tmp_path)(ROWS), rtol=0, atol=0)
    assert not torch.equal(judged(ROWS), trainer.processor.eval()(ROWS))


def test_a_save_that_fails_changes_nothing(model: FlowProcessor, tmp_path: Path, monkeypatch) -> None:
    model.save_pretrained(tmp_path, card=CARD_OF_TESTS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = create_processor(CONFIGURATION.replace(seed=1, coast=0.1))

    def full(path: Path) -> None:
        if path.name.startswith(f".{CONFIG}"):
            raise OSError("no space")

    monkeypatch.setattr(files, "sync_file", full)
    with pytest.raises(OSError, match="no space"):
        other.save_pretrained(tmp_path, card=ModelCard(name="other"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_card_that_is_there_stays_unless_another_is_given(model: FlowProcessor, tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / CARD).read_text() == "mine"
    model.save_pretrained(tmp_path, card=CARD_OF_TESTS)
    assert "a test" in (tmp_path / CARD).read_text()


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_folder_without_a_file_is_named(model: FlowProcessor, tmp_path: Path, name: str) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=rf"{name}: no such file; give a model folder"):
        FlowProcessor.from_pretrained(tmp_path)


def test_weights_of_another_configuration_are_refused(model: FlowProcessor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    wider = create_processor(CONFIGURATION.replace(carrier_hidden_size=16)).state_dict()
    with pytest.raises(ValueError, match="its configuration wants"):
        read_weights(tmp_path / WEIGHTS, wider)


def test_the_hub_reads_the_front_matter_of_a_card() -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(CARD_OF_TESTS.text(CONFIGURATION, "user/test"))
    assert card.data.library_name == "energy-flow"
    assert card.data.license == "apache-2.0"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("cosine", 0.5, "rows, test split")
    for said in ("It maps rows to rows.", "0.4 to 0.625", "40 rows, mean of 5 seeds", "weights: 3", "processor one"):
        assert said in card.text
    assert 'from_pretrained("user/test")' in card.text


def test_the_code_of_a_card_runs(model: FlowProcessor, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    text = (tmp_path / CARD).read_text().replace("path/to/this/folder", tmp_path.as_posix())
    names: dict = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    assert names["outputs"].shape == (4, 16)


def run_python(code: str, address: str, cache: Path, **more: str) -> subprocess.CompletedProcess:
    """A process of its own, since the hub's address is read when its library is imported."""
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_TOKEN": "hf_test", **more}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


def test_a_model_goes_to_the_hub_and_comes_back(model: FlowProcessor, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    model.save_pretrained(tmp_path / "model", card=CARD_OF_TESTS)
    code = (
        "import torch\nfrom energy_flow import FlowProcessor, load\nfrom energy_flow.cli import main\n"
        "rows = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))\n"
        "model = FlowProcessor.from_pretrained(r'{folder}')\n"
        "print(model.push_to_hub('user/test'))\n"
        "found = FlowProcessor.from_pretrained('user/test')\n"
        "again = FlowProcessor.from_pretrained('user/test', local_files_only=True)\n"
        "assert torch.equal(found(rows), model(rows)) and torch.equal(again(rows), load('user/test')(rows))\n"
        "main(['load', 'user/test', '--output', r'{copy}'])\n"
        "for name, options in (('user/none', {{}}), ('user/test', {{'revision': 'none'}}), ('no name', {{}})):\n"
        "    try:\n        FlowProcessor.from_pretrained(name, **options)\n"
        "    except ValueError as error:\n        print(error)\n"
    ).format(folder=tmp_path / "model", copy=tmp_path / "copy")
    with hub_stand_in() as (hub, address):
        ran = run_python(code, address, tmp_path / "cache")
        assert ran.returncode == 0, ran.stderr
        assert (tmp_path / "copy" / CARD).read_bytes() == hub.files("user/test")[CARD]
        lines = [line for line in ran.stdout.splitlines() if not line.startswith("wrote")]
        assert lines[0] == f"{address}/user/test/commit/{hub.sha('user/test')}"
        assert lines[1].startswith("user/none: neither a folder nor a model on the hub")
        assert lines[2].startswith("user/test: no such folder, and not loaded from the hub: ")
        assert lines[3].startswith("no name: neither a folder nor a model on the hub")
        pushed = hub.files("user/test")
        assert set(pushed) == {WEIGHTS, CONFIG, CARD}
        assert pushed[WEIGHTS] == (tmp_path / "model" / WEIGHTS).read_bytes()
        assert sum(one.startswith("POST /api/models/user/test/commit") for one in hub.asked) == 1


def test_a_hub_that_refuses_is_one_line(model: FlowProcessor, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    model.save_pretrained(tmp_path / "model")
    with hub_stand_in() as (hub, address):
        hub.refuses = True
        code = f"from energy_flow import FlowProcessor\nFlowProcessor.from_pretrained(r'{tmp_path / 'model'}')"
        ran = run_python(f"{code}.push_to_hub('user/test')", address, tmp_path / "cache")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("ValueError: user/test: not pushed to the hub: ")


def test_a_run_is_shared_with_what_it_scores(toy_model: Path, toy_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    main(["share", str(toy_model.parent), "--data", str(toy_set), "--output", str(folder), "--licence", "mit"])
    text = (folder / CARD).read_text(encoding="utf-8")
    for said in ("# toy", 'license: "mit"', "| test split | acc_10 |", "Seed of these weights: 0", "torch_threads"):
        assert said in text
    rows = torch.randn(2, FlowProcessor.from_pretrained(folder).config.input_embedding_dim)
    own = FlowProcessor.from_pretrained(toy_model)
    torch.testing.assert_close(FlowProcessor.from_pretrained(folder)(rows), own(rows), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "nowhere to share it; give --output"), (["--output", "{full}"], "holds files already; give a new folder")],
)
def test_what_cannot_be_shared_is_refused_first(arguments, said, toy_model: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    arguments = [one.format(full=tmp_path) for one in arguments]
    with pytest.raises(SystemExit) as stop:
        main(["share", str(toy_model), *arguments])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_threads_that_save_into_one_folder_leave_a_whole_model(model: FlowProcessor, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model.save_pretrained(tmp_path / "m"), range(12)))
    assert {path.name for path in (tmp_path / "m").iterdir()} == {WEIGHTS, CONFIG, CARD}
    assert FlowProcessor.from_pretrained(tmp_path / "m").config == model.config


def test_a_home_folder_is_found(model: FlowProcessor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("~/m")
    assert (tmp_path / "m" / WEIGHTS).is_file()
    assert FlowProcessor.from_pretrained("~/m").config == model.config
