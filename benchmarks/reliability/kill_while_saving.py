"""Does a run that is killed while it saves always start again, from the old checkpoint or the new one?

A child process saves one checkpoint after the other and is killed (SIGKILL) at a random moment; then the newest whole
checkpoint is looked for, as `--resume auto` does, and its state must be that of one of the saves. POSIX only.

    python -m benchmarks.reliability.kill_while_saving [--kills 200]
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import parser_for, publish
from energy_flow.config import create_tiny_config
from energy_flow.core import create_processor
from energy_flow.distributed import Ranks
from energy_flow.training.model_folder import load_weights
from energy_flow.training.optimizers import create_optimizer
from energy_flow.training.run.checkpoint_files import files_of, restore
from energy_flow.training.run.checkpoint_store import CheckpointStore
from energy_flow.training.run.run_state import RunState, read_state

LONGEST = 0.12  # seconds that a child may live beyond its first save
COLUMNS = ("kills", "started again", "while writing", "temporary files left", "damaged in place")


def save_for_ever(folder: Path, first: int) -> None:
    """Save with a step that is also every weight's value, so that files of two saves cannot be taken for one."""
    config = create_tiny_config()
    processor = create_processor(config)
    optimizer = create_optimizer(processor, config)
    store, step = CheckpointStore(folder), first
    while True:
        with torch.no_grad():
            for weight in processor.parameters():
                weight.fill_(step)
        store.save(step, files_of(processor, optimizer, RunState(10**6, "data", step=step), Ranks()), {})
        step += 1


def find(folder: Path) -> int:
    """The step of the newest whole checkpoint, after checking that all its files are of that step."""
    store = CheckpointStore(folder)
    store.remove_unfinished()  # as a run that goes on does
    newest = store.newest()
    if newest is None:
        return 0
    config = create_tiny_config()
    processor = create_processor(config)
    load_weights(processor, newest)
    state = read_state(newest)
    restore(newest, processor, create_optimizer(processor, config), state, Ranks())
    assert all(bool((weight == state.step).all()) for weight in processor.parameters()), f"{newest} is mixed"
    return state.step


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    moments = random.Random(0)
    again = writing = left = damaged = 0
    with tempfile.TemporaryDirectory() as name:
        folder, step = Path(name) / "checkpoints", 0
        for _ in range(arguments.kills):
            child = os.fork()
            if child == 0:
                save_for_ever(folder, step + 1)
            while not (folder / f"step-{step + 1:09d}").exists():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, LONGEST))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            writing += bool(list(folder.glob(".*.tmp")))
            found = find(folder)
            again += found > step
            left += bool(list(folder.glob(".*")))
            store = CheckpointStore(folder)
            damaged += store.newest() != store.all()[-1]
            step = found
    title = f"{arguments.kills} kills at random moments of saving"
    publish(
        arguments.results / "kill_while_saving.json", title, COLUMNS, [[arguments.kills, again, writing, left, damaged]]
    )


if __name__ == "__main__":
    main()
