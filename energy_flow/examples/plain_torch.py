"""The lattice as an ordinary module in a training loop of one's own: the same rotation, learned with plain torch.

python -m energy_flow.examples.plain_torch
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from energy_flow import EnergyConfig, create_config, create_processor

WIDTH = 64


def small_config() -> EnergyConfig:
    """A small lattice for rows of 64 numbers."""
    return create_config(
        "tiny",
        input_embedding_dim=WIDTH,
        output_embedding_dim=WIDTH,
        energy_dim=8,
        mapping="mixed",
        carrier_hidden_size=32,
        carrier_num_layers=1,
    )


def rotated_rows(count: int) -> tuple[Tensor, Tensor]:
    """(count, 64) random rows and the same rows after a fixed rotation."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator))[0]
    rows = torch.randn(count, WIDTH, generator=generator)
    return rows, rows @ rotation


def main(pairs: int = 2048, epochs: int = 8) -> float:
    """Train, print what happened, and return the mean cosine on pairs that were not trained on."""
    inputs, targets = rotated_rows(2 * pairs)
    model = create_processor(small_config())
    model.mapper.calibrate(inputs[:pairs], targets[:pairs])  # measures how large the numbers are; EnergyTrainer does it
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    batches = DataLoader(TensorDataset(inputs[:pairs], targets[:pairs]), batch_size=64, shuffle=True)
    for epoch in range(epochs):
        losses = []
        for rows, wanted in batches:
            loss = 1 - torch.cosine_similarity(model(rows), wanted).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
        print(f"epoch {epoch + 1}: loss {torch.stack(losses).mean().item():.4f}")
    model.eval()
    with torch.no_grad():
        cosine = torch.cosine_similarity(model(inputs[pairs:]), targets[pairs:]).mean().item()
    print(f"cosine on held-out pairs: {cosine:.3f}")
    return cosine


if __name__ == "__main__":
    main()
