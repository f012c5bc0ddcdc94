"""Does a run that is cut again and again, in every way, end with the bits of one that was not cut?

A run of 2 000 steps, in a process of its own, is disturbed at a random moment: killed (SIGKILL), asked to stop
(SIGINT, SIGTERM), asked twice (SIGINT, SIGINT), its disk is full for a while, or its lock is stolen. Then it is started
again, as a requeued job would be (`resume_from="auto"`), until it is finished. Its weights, moments, averages and
metrics must be those of a run that was left alone. With averaged weights, looks at the validation set within the
epochs, and a checkpoint every 25 steps. POSIX only.

    python -m benchmarks.reliability.soak [--cuts 40] [--steps 2000]
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import parser_for, publish
from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import create_processor
from energy_flow.data import PairData, PairSet
from energy_flow.training import EnergyTrainer, RunTakenError, TrainingStopped, WeightsNotSavedError
from energy_flow.training.run.folder_lock import LOCK, OWNER, FolderLock

WAYS = ("SIGKILL", "SIGINT", "SIGTERM", "SIGINT twice", "disk full", "lock stolen")
SHORTEST, LONGEST = 0.05, 1.5  # seconds of training before a disturbance
FULL_FOR = 0.6  # seconds that the disk stays full
COLUMNS = ("cuts", *WAYS, "starts", "checkpoints passed over", "ends with the same bits", "metrics the same")
TIMED = ("flow_steps_per_second", "step_seconds", "memory_bytes")
STOPPED, UNSAVED, TAKEN = 75, 74, 2


def config(steps: int) -> EnergyConfig:
    sizes = {"lattice_width": 4, "lattice_height": 4, "lattice_depth": 4, "sites": (2, 2), "energy_dim": 4}
    layers = {"carrier_hidden_size": 8, "carrier_num_layers": 2, "neuron_hidden_dim": 8, "neuron_output_dim": 8}
    widths = {"input_embedding_dim": 12, "output_embedding_dim": 8}
    training = {"batch_size": 8, "epochs": steps // 50, "learning_rate": 1e-3, "log_every": 5, "ema_decay": 0.99}
    run = {"checkpoint_every": 25, "validate_every": 20, "keep_checkpoints": 3}
    return create_config("tiny", **sizes | layers | widths | training | run)


def data() -> PairData:
    generator = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(440, 12, generator=generator), torch.randn(12, 8, generator=generator)
    one, two, three = (PairSet(rows, rows @ weights) for rows in inputs.split((400, 20, 20)))
    return PairData("toy", one, two, three)


def train(run: Path, steps: int) -> None:
    """What a process of its own does; while the file `full` is beside the run, nothing can be written."""
    fill = run.with_name("full")
    fsync = os.fsync

    def full(handle: int) -> None:
        if fill.exists():
            raise OSError(28, "No space left on device")
        fsync(handle)

    os.fsync = full
    logging.basicConfig(level="WARNING")
    settings = config(steps)
    goes_on = any(run.glob("checkpoints/step-*"))
    torch.manual_seed(os.getpid() if goes_on else 0)  # whoever goes on must find the generators as they were
    try:
        EnergyTrainer(create_processor(settings), settings, run, resume_from="auto").fit(data())
    except TrainingStopped:
        sys.exit(STOPPED)
    except WeightsNotSavedError:
        sys.exit(UNSAVED)
    except RunTakenError:
        sys.exit(TAKEN)


def start(run: Path, steps: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.reliability.soak", "--worker", str(run), "--steps", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def disturb(process: subprocess.Popen[str], run: Path, way: str) -> None:
    """Do one thing to a run that trains."""
    if way == "disk full":
        run.with_name("full").touch()
        time.sleep(FULL_FOR)
        run.with_name("full").unlink()
        process.terminate()
    elif way == "lock stolen":
        for name in (LOCK, OWNER):
            (run / name).unlink(missing_ok=True)
        thief = FolderLock(run)
        thief.acquire()
        process.wait()
        thief.release()
    else:
        number = getattr(signal, way.split(maxsplit=1)[0])
        process.send_signal(number)
        if way.endswith("twice"):
            time.sleep(0.01)
            process.send_signal(number)


def soak(run: Path, steps: int, cuts: int) -> tuple[dict[str, int], int, int]:
    """Cut a run so often, then let it end; how often in each way, how often it was started, and what was damaged."""
    moments, starts, passed_over = random.Random(0), 0, 0
    done: dict[str, int] = dict.fromkeys(WAYS, 0)
    plan = [WAYS[number % len(WAYS)] for number in range(cuts)]
    moments.shuffle(plan)
    while True:
        process = start(run, steps)
        starts += 1
        way = plan[sum(done.values())] if sum(done.values()) < cuts else None
        if way is not None:
            while not (run / OWNER).exists() or _written_by(run) != process.pid:
                if process.poll() is not None:
                    break
                time.sleep(0.005)
            time.sleep(moments.uniform(SHORTEST, LONGEST))
            if process.poll() is None:
                disturb(process, run, way)
                done[way] += 1
        said = process.communicate()[1]
        passed_over += said.count("is damaged")
        if process.returncode not in (0, STOPPED, UNSAVED, TAKEN, -signal.SIGKILL, 128 + signal.SIGINT):
            raise RuntimeError(f"start {starts} ended with {process.returncode} after {way}:\n{said}")
        if process.returncode == 0 and (way is None or sum(done.values()) >= cuts):
            return dict(done), starts, passed_over
        if process.returncode == 0:
            raise RuntimeError(f"finished after {sum(done.values())} of {cuts} cuts; give more steps")


def _written_by(run: Path) -> int:
    try:
        return int(json.loads((run / OWNER).read_text())["pid"])
    except (OSError, ValueError):
        return -1


def final_bytes(run: Path, steps: int) -> dict[str, bytes]:
    files = [
        *(run / "checkpoints" / f"step-{steps:09d}").iterdir(),
        *(run / "best").iterdir(),
        *(run / "last").iterdir(),
    ]
    kept = {str(path.relative_to(run)): path.read_bytes() for path in files}
    return {name: content for name, content in kept.items() if "manifest" not in name}


def metrics(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMED} for line in lines]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--cuts", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--worker", type=Path, help="train in this folder, as the script itself asks for")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.worker is not None:
        train(arguments.worker, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as name:
        whole, cut = Path(name) / "whole" / "run", Path(name) / "cut" / "run"
        for folder in (whole, cut):
            folder.parent.mkdir()
        train(whole, arguments.steps)
        done, starts, passed_over = soak(cut, arguments.steps, arguments.cuts)
        found, wanted = final_bytes(cut, arguments.steps), final_bytes(whole, arguments.steps)
        same = found.keys() == wanted.keys() and all(found[file] == wanted[file] for file in wanted)
        differing = [file for file in wanted if found.get(file) != wanted[file]]
        row = [arguments.cuts, *(done[way] for way in WAYS), starts, passed_over, same, metrics(cut) == metrics(whole)]
    title = f"a run of {arguments.steps} steps, cut {arguments.cuts} times at random moments"
    publish(arguments.results / "soak.json", title, COLUMNS, [row], differing=differing)
    if not (row[-1] and row[-2]):
        sys.exit(f"not the same: {differing or sorted(found.keys() ^ wanted.keys()) or 'the metrics'}")


if __name__ == "__main__":
    main()
