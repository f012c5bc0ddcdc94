"""The house: imports run one way, and each place keeps out what does not belong there."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import energy_flow
from energy_flow.cli import overview
from energy_flow.cli.command_line import COMMANDS

PACKAGE = Path(__file__).parent.parent / "energy_flow"
ALLOWED = {
    "config": set(),
    "utils": set(),
    "data": {"config", "utils"},
    "text": {"config", "utils", "data"},
    "distributed": {"utils"},
    "viz": {"config", "core"},
    "core": {"config", "sharing"},
    "sharing": {"config", "utils"},
    "models": {"core", "sharing"},
    "analysis": {"config", "core", "data", "utils", "viz"},
    "cli": {"analysis", "config", "core", "data", "distributed", "explorer", "integrations", "models", "sharing"}
    | {"stores", "text", "training", "utils", "viz"},
    "stores": {"data", "utils"},
    "explorer": {"analysis", "config", "core", "data", "text", "training", "viz"},
    "integrations": {"config", "core", "data", "sharing", "training", "utils", "viz"},
    "training": {"config", "core", "data", "distributed", "sharing", "text", "utils"},
}
MAY_WAIT = "interventions"  # they check what people give, before the run
THE_ONE_THAT_WAITS = "entry.py"  # for what became of the flows of a step
FORBIDDEN_IN_CORE = {"logging", "time", "rich", "tqdm"}


def modules(folder: str) -> list[Path]:
    found = sorted((PACKAGE / folder).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> set[str]:
    """Dotted names, relative ones resolved to `energy_flow.PLACE`."""
    names: set[str] = set()
    package = ("energy_flow", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names.add(".".join((*base, *filter(None, [node.module]))))
    return names


@pytest.mark.parametrize("place", ALLOWED)
def test_imports_run_one_way(place: str) -> None:
    for path in modules(place):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "energy_flow":
                if place == "cli" and len(parts) == 1:  # its version
                    continue
                assert len(parts) > 1, f"{path.name} imports the whole package"
                assert parts[1] in ALLOWED[place] | {place}, f"{place}/{path.name} imports {name}"


def test_core_neither_logs_nor_looks_at_the_clock_nor_waits_for_numbers() -> None:
    for path in modules("core"):
        assert not {name.split(".")[0] for name in imports(path)} & FORBIDDEN_IN_CORE, path.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            may_wait = path.name == THE_ONE_THAT_WAITS or path.parent.name == MAY_WAIT
            waits = called.endswith((".item", ".tolist")) and not may_wait
            assert called != "print" and not waits, f"{path.name}: {called}"


def test_config_knows_neither_torch_nor_devices() -> None:
    for path in modules("config"):
        assert "torch" not in {name.split(".")[0] for name in imports(path)}


def test_library_imports_without_the_extras() -> None:
    """core, config, training and data must work where only the runtime core is installed."""
    code = (
        "import sys\n"
        "extras = 'tyro yaml pydantic plotly tensorboard sentence_transformers pandas matplotlib'\n"
        "for name in extras.split():\n"
        "    sys.modules[name] = None\n"
        "import energy_flow, energy_flow.core, energy_flow.config, energy_flow.training, energy_flow.data\n"
        "import energy_flow.viz\n"
        "print(energy_flow.__version__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_command_line_without_its_extra_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['tyro'] = None; import energy_flow.cli"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert "pip install 'energy-flow[cli]'" in ran.stderr


SLOW_TO_IMPORT = "sentence_transformers transformers sklearn scipy pyarrow pandas matplotlib tyro yaml tensorboard"
SLOW_TO_IMPORT += " wandb faiss huggingface_hub datasets fastapi onnx onnxruntime torch._dynamo torch._inductor"


@pytest.mark.parametrize("code", ["import energy_flow", "from energy_flow.cli import main; main(['--help'])"])
def test_neither_the_package_nor_the_help_waits_for_torch(code: str) -> None:
    loaded = loaded_by(code)
    assert "energy_flow" in loaded
    assert not loaded & {"torch", "numpy"}


def test_the_library_loads_no_extra() -> None:
    loaded = loaded_by("from energy_flow import *; import energy_flow.data, energy_flow.viz, energy_flow.analysis")
    assert "torch" in loaded
    assert not loaded & set(SLOW_TO_IMPORT.split())


def loaded_by(code: str) -> set[str]:
    """Which modules a fresh process has after this."""
    code = f"import sys\n{code}\nprint('loaded', *sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.rpartition("loaded ")[2].split())


def test_public_names_are_there_on_first_use() -> None:
    code = "import energy_flow\nfor name in energy_flow.__all__: assert callable(getattr(energy_flow, name)), name\n"
    code += "assert energy_flow.core.FlowProcessor is energy_flow.FlowProcessor; assert 'training' in dir(energy_flow)"
    assert "energy_flow.training" in loaded_by(code)
    with pytest.raises(AttributeError, match="energy_flow.*has no attribute 'nonsense'"):
        _ = energy_flow.nonsense


def test_the_overview_names_every_command() -> None:
    named = [name for commands in overview.GROUPS.values() for name in commands]
    assert sorted(named) == sorted(COMMANDS)


def test_import_does_no_work() -> None:
    """No default device, no default dtype, no thread setting, no random draw."""
    code = (
        "import torch\n"
        "before = (torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().sum())\n"
        "import energy_flow.training, energy_flow.data, energy_flow.utils\n"
        "after = (torch.get_default_dtype(), torch.get_num_threads(), torch.get_rng_state().sum())\n"
        "assert before == after, (before, after)\n"
        "assert torch.empty(0).device.type == 'cpu'\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
