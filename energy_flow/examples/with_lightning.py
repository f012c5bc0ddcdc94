"""The lattice in a LightningModule, trained by Lightning's Trainer (pip install lightning).

python -m energy_flow.examples.with_lightning
"""

from __future__ import annotations

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from energy_flow import EnergyConfig, create_processor

from .plain_torch import rotated_rows, small_config


class LitEnergyFlow(lightning.LightningModule):
    """A lattice with its loss and optimizer."""

    def __init__(self, config: EnergyConfig) -> None:
        super().__init__()
        self.save_hyperparameters({"config": config.to_dict()})
        self.model = create_processor(config)

    def forward(self, rows: Tensor) -> Tensor:
        """(B, 64) rows to (B, 64) outputs."""
        return self.model(rows)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """1 - cosine, averaged over the batch."""
        loss = 1 - torch.cosine_similarity(self(batch[0]), batch[1]).mean()
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=4e-3)


def main(pairs: int = 2048, epochs: int = 8) -> float:
    """Train, and return the mean cosine on pairs that were not trained on."""
    inputs, targets = rotated_rows(2 * pairs)
    module = LitEnergyFlow(small_config())
    module.model.mapper.calibrate(inputs[:pairs], targets[:pairs])
    batches = DataLoader(TensorDataset(inputs[:pairs], targets[:pairs]), batch_size=64, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="auto",
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, batches)
    module.eval()
    with torch.no_grad():
        cosine = torch.cosine_similarity(module(inputs[pairs:]), targets[pairs:]).mean().item()
    print(f"cosine on held-out pairs: {cosine:.3f}")
    return cosine


if __name__ == "__main__":
    main()
