"""Runs the scenarios of `test_virtual_card.py` on the virtual accelerator and prints one JSON object: `[NAME ...]`."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import load_file

from .virtual_accelerator import NAME, State, counted_waits, install, seeded

install()

from energy_flow.analysis import Trace  # noqa: E402
from energy_flow.config import Box  # noqa: E402
from energy_flow.core import Execution, create_processor  # noqa: E402  (the device must be known before)
from energy_flow.core import interventions as act  # noqa: E402
from energy_flow.core.constants import Constant  # noqa: E402
from energy_flow.data import PairData, PairSet, TextBank  # noqa: E402
from energy_flow.data.reading import Batch  # noqa: E402
from energy_flow.text import NearestTexts  # noqa: E402
from energy_flow.training import EnergyTrainer, Judge, NonFiniteError, load_model, training_loop  # noqa: E402
from energy_flow.training import training_step as steps  # noqa: E402
from energy_flow.training.step_records import bring_to_host  # noqa: E402
from energy_flow.utils import DeviceManager  # noqa: E402

from .strategies import build_model  # noqa: E402
from .test_any_box import mazes, small  # noqa: E402
from .test_laws import BUSY  # noqa: E402
from .test_training import SMALL, data, pairs  # noqa: E402

ROWS = pairs(16, 3)


def trainer(run: Path | None = None, resume: str | None = None, **changes) -> EnergyTrainer:
    config = SMALL.replace(**changes)
    return EnergyTrainer(
        create_processor(config), config, run, devices=DeviceManager("auto", config.precision), resume_from=resume
    )


def train_in(precision: str) -> dict:
    one = trainer(precision=precision, epochs=3)
    result = one.fit(data())
    losses = [report.train_loss for report in result.epochs]
    return {"device": str(one.devices.device), "precision": one.devices.precision, "losses": losses}


def same_numbers() -> bool:
    """A run, its gradients and an evaluation, on the CPU and on the device."""
    found = []
    for device in ("cpu", NAME):
        for execution in (Execution(), Execution(checkpointed=True)):
            model = build_model(BUSY, seed=2).to(device)
            model.execute(execution)
            inputs = torch.randn(6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
            result = model.run(inputs, record=True)
            result.output.sin().sum().backward()
            found.append([result.output.detach().cpu(), *(weight.grad.cpu() for weight in model.parameters())])
    return all(torch.equal(one, other) for others in found[1:] for one, other in zip(found[0], others, strict=True))


def several_sizes() -> dict:
    """Mazes of two sizes with preludes, and pointers; the CPU gives the same weights, and a step waits as it must."""
    found, waited = {}, []
    for name, changes in (("grid", {}), ("pointer", {"mover": "pointer", "reader": "aimed", "aim_entropy": 0.1})):
        weights = []
        for device in ("cpu", "auto"):
            config = small(features=("cross", "recall", "attention", "harmonics"), precision="float32", **changes)
            one = EnergyTrainer(create_processor(config), config, devices=DeviceManager(device, "float32"))
            one.fit(mazes())
            weights.append([value.cpu() for value in one.processor.state_dict().values()])
        found[name] = all(torch.allclose(*pair, atol=1e-5) for pair in zip(*weights, strict=True))
        batch = mazes().train.parts[0]
        rows = batch.inputs[:4].to(NAME)
        one.processor.run(rows, box=Box(2, 2, 5), along=0.5)  # tables of this box are copied once
        with counted_waits() as counted:
            result = one.processor.run(rows, box=Box(2, 2, 5), along=0.5)
        waited.append(counted.total() - len(result.stats.live))
    one.processor.eval()
    one.processor.config = one.config.replace(coast=0.1)
    found["coasts"] = bool(one.processor.run(batch.inputs[:4].to(NAME), box=Box(2, 2, 30)).stats.coasted.any())
    return found | {"waits beyond the lattice's": waited}


def save_and_resume() -> dict:
    """A run that is stopped and goes on, against one that is not."""
    folder = Path(tempfile.mkdtemp())
    settings = {"precision": "float32", "checkpoint_every": 2}
    trainer(folder / "whole", **settings).fit(data())
    cut = mock.patch.object(training_loop.TrainingLoop, "_keep", side_effect=KeyboardInterrupt)
    with cut, contextlib.suppress(KeyboardInterrupt):
        trainer(folder / "cut", **settings).fit(data())
    going_on = trainer(folder / "cut", "auto", **settings)
    going_on.fit(data())
    names = ("whole", "cut")
    weights = [(folder / name / "last" / "model.safetensors").read_bytes() for name in names]
    outputs = load_model(folder / "cut" / "last", NAME)(ROWS.inputs.to(NAME)).cpu()
    same = torch.allclose(outputs, going_on.predict(ROWS.inputs), atol=1e-6)
    newest = max((folder / "cut" / "checkpoints").glob("*/random.safetensors"))
    return {"same weights": weights[0] == weights[1], "same outputs": same, "generators": sorted(load_file(newest))}


def out_of_memory() -> list:
    found = []
    for checkpointing in ("auto", "off"):
        one, State.out_of_memory_after = trainer(checkpointing=checkpointing), 30
        found.append([one.fit(data()).steps, one.processor.execution.checkpointed, one._step.micro_batches])
    return found


def waits(accumulation: int = 1) -> dict:
    """Those of one step, and of one report, beyond the steps of the lattice."""
    one = trainer(log_every=100, accumulation=accumulation)
    one.train(ROWS.inputs, ROWS.targets, 1)
    inputs, targets = (rows[:8].pin_memory() for rows in (ROWS.inputs, ROWS.targets))
    lattice, run = [], one.processor.run

    def counting(embeddings, **options):
        result = run(embeddings, **options)
        lattice.append(len(result.stats.live))
        return result

    one.processor.run = counting
    with counted_waits() as found:
        figures = one._step(Batch(torch.arange(8), lambda: (inputs, targets)))
    with counted_waits() as reported:
        bring_to_host([figures, figures])
    outside = {line: count for line, count in found.items() if "core/" not in line}
    return {"lattice": sum(lattice), "all": found.total(), "outside": outside, "report": reported.total()}


def rows_of_every_kind() -> list[str]:
    """What takes rows from a user takes those of every kind."""
    kinds = {
        "device": lambda rows: rows.to(NAME),
        "float64": lambda rows: rows.double(),
        "float16": lambda rows: rows.half(),
        "numpy": lambda rows: rows.numpy(),
        "with a gradient": lambda rows: rows.clone().to(NAME).requires_grad_(),
    }
    for kind in kinds.values():
        inputs, targets = kind(ROWS.inputs), kind(ROWS.targets)
        one = trainer()
        one.train(inputs, targets, 1)
        one.predict(inputs)
        texts = tuple(f"w{row}" for row in range(16))
        named = PairSet(inputs, targets, texts, texts)
        bank = TextBank(texts, targets)
        one.evaluate(named, bank)
        one.fit(PairData("named", named, named, named, bank), 1)
        Judge(bank, targets).measure(targets, named)
        NearestTexts(texts, targets)(targets, 3)
    return list(kinds)


def not_finite() -> list[str]:
    found = []
    for break_it in (nan_in_the_loss, infinite_gradient):
        one = trainer()
        before = [weight.detach().cpu() for weight in one.processor.parameters()]
        try:
            break_it(one)
        except NonFiniteError as error:
            found.append(str(error))
        after = [weight.detach().cpu() for weight in one.processor.parameters()]
        assert all(map(torch.equal, before, after))
    return found


def nan_in_the_loss(one: EnergyTrainer) -> None:
    real = steps.total_loss
    with mock.patch.object(steps, "total_loss", lambda *given: (real(*given)[0] * torch.nan, real(*given)[1])):
        one.fit(data())


def infinite_gradient(one: EnergyTrainer) -> None:
    one.processor.carrier.heads.weight.register_hook(lambda gradient: gradient * torch.inf)
    one.fit(data())


def no_kernels() -> str:
    State.no_kernels = True
    try:
        DeviceManager("auto")
    except ValueError as error:
        return str(error)
    finally:
        State.no_kernels = False
    return "nothing was said"


def memory() -> list[int | None]:
    return list(DeviceManager("auto").memory())


def generators() -> int:
    """How often a generator of the device was seeded by building a model and training it."""
    before = len(seeded)
    trainer().fit(data(), 1)
    return len(seeded) - before


def mixed_devices() -> dict[str, str]:
    """Faults that a CPU does not notice, each put into the product: what the device says of them."""
    real_figures, real_loss = steps._figures, steps.total_loss
    faults = {
        "a figure on the CPU": (steps, "_figures", lambda sums: real_figures(sums) | {"rate": torch.tensor(1.0)}),
        "targets on the CPU": (
            steps,
            "total_loss",
            lambda outputs, targets, *rest: real_loss(outputs, targets.cpu(), *rest),
        ),
        "a table on the CPU": (Constant, "like", lambda self, tensor: self._table.to(tensor.dtype)),
    }
    found = {}
    for name, (place, what, fault) in faults.items():
        one = trainer(log_every=1)
        with mock.patch.object(place, what, fault):
            try:
                one.fit(data())
                found[name] = "nothing"
            except RuntimeError as error:
                found[name] = str(error)
    return found


def interventions() -> bool:
    """Hands in the lattice, whose tables lie on the device and whose trace on the CPU, or the other way round."""
    found = []
    for device in ("cpu", NAME):
        model = build_model(BUSY, seed=2).to(device)
        inputs = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
        plain = model.run(inputs, record=("energy", "gate", "children"))
        tables = [
            act.Redirect(torch.tensor([[3.0, 3.0]], device=device), flows=[4], steps=[2]),
            act.BlockCells(torch.tensor([[2, 2, 3], [1, 1, 2]], device=device), otherwise="straight"),
            act.BlockEdges(torch.tensor([[0, 0, 1, 1], [1, 0, 1, 1]], device=device)),
        ]
        others = [act.Freeze(flows=[1]), act.AddNoise(0.2), act.SwapEnergies([1, 0, 3, 2], steps=[3])]
        for trace in (plain.trace, Trace.of(plain, BUSY)):
            hand = [*tables, *others, act.Replay(trace, [1, 2, 3, 0], flows=[5])]
            found.append(model.run(inputs, intervene=hand).output.detach().cpu())
    return all(torch.allclose(found[0], one) for one in found[1:])


SCENARIOS: dict[str, Callable] = {
    "float32": lambda: train_in("float32"),
    "auto": lambda: train_in("auto"),
    "same numbers": same_numbers,
    "interventions": interventions,
    "several sizes": several_sizes,
    "save and resume": save_and_resume,
    "out of memory": out_of_memory,
    "waits": waits,
    "waits of micro-batches": lambda: waits(3),
    "rows": rows_of_every_kind,
    "not finite": not_finite,
    "no kernels": no_kernels,
    "memory": memory,
    "generators": generators,
    "mixed devices": mixed_devices,
}


def main(names: list[str]) -> None:
    found = {}
    for name, scenario in SCENARIOS.items():
        if not names or name in names:
            try:
                found[name] = scenario()
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
