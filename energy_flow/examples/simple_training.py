"""Train a small lattice to undo a fixed rotation of random embeddings, then look at one flow's path.

python -m energy_flow.examples.simple_training
"""

from __future__ import annotations

import torch

from energy_flow import EnergyTrainer, create_config, create_processor
from energy_flow.core.flows import EVENT_NAMES

WIDTH = 64


def main(pairs: int = 2048, epochs: int = 8) -> float:
    """Train, print what happened, and return the mean cosine on pairs that were not trained on."""
    config = create_config(
        "tiny",
        input_embedding_dim=WIDTH,
        output_embedding_dim=WIDTH,
        energy_dim=8,
        mapping="mixed",
        carrier_hidden_size=32,
        carrier_num_layers=1,
        batch_size=64,
        learning_rate=4e-3,
        warmup_steps=20,
        loss_contrastive=0.0,
    )
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0]
    inputs = torch.randn(2 * pairs, WIDTH, generator=generator)
    targets = inputs @ rotation

    processor = create_processor(config)
    trainer = EnergyTrainer(processor, config)
    result = trainer.train(inputs[:pairs], targets[:pairs], epochs=epochs)
    print(f"{result.steps} steps in {result.seconds:.1f} s, last loss {result.epochs[-1].train_loss:.4f}")

    cosine = torch.cosine_similarity(trainer.predict(inputs[pairs:]), targets[pairs:]).mean().item()
    print(f"cosine on held-out pairs: {cosine:.3f}")

    trace = processor.run(inputs[:1], record=True).trace
    assert trace is not None  # record=True asked for it
    for record in (trace.flow_id == 0).nonzero().flatten().tolist():
        x, y, z = trace.position[record].tolist()
        step, event = int(trace.step[record]), EVENT_NAMES[int(trace.event[record])]
        print(f"flow 0, step {step}: ({x:.0f}, {y:.0f}, {z:.0f}), level {trace.level[record]:.2f}, {event}")
    return cosine


if __name__ == "__main__":
    main()
