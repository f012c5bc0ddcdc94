"""A module for a pipeline of sentence-transformers (extra text): what `encode` gives has gone through a lattice.

Shapes: `B` texts, `E in` width of the encoder, `E out` of the lattice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from ..core import FlowProcessor
from ..sharing import write_model
from ..training.unwrapping import unwrap_processor

try:
    from sentence_transformers.base.modules import Module
except ImportError as missing:
    raise ImportError("the module needs sentence-transformers 6 or later: pip install 'energy-flow[text]'") from missing

EMBEDDING = "sentence_embedding"  # what the modules of a pipeline call it


class EnergyFlow(Module):
    """A lattice as the last part of a pipeline, which is saved and loaded with it.

    Trained by `EnergyTrainer`, or by `SentenceTransformerTrainer` within the pipeline. Faces that nobody calibrated
    expect embeddings of unit length; for others call `processor.mapper.calibrate(inputs, targets)` before the latter.

    Args:
        processor: the model, perhaps in a wrapper of torch's.
    """

    def __init__(self, processor: nn.Module) -> None:
        super().__init__()
        self.processor: FlowProcessor = unwrap_processor(processor)

    def forward(self, features: dict[str, Tensor | Any], **kwargs: Any) -> dict[str, Tensor | Any]:
        """Send (B, E in) sentence embeddings through the lattice, (B, E out).

        Raises:
            ValueError: the encoder gives rows of another width.
        """
        embeddings = features[EMBEDDING]
        width = self.processor.config.input_embedding_dim
        if embeddings.shape[1] != width:
            raise ValueError(
                f"the pipeline gives embeddings of width {embeddings.shape[1]}, the model takes {width}; "
                "give the encoder that it was trained on"
            )
        features[EMBEDDING] = self.processor(embeddings).to(embeddings.dtype)
        return features

    def get_embedding_dimension(self) -> int:
        """E out."""
        return self.processor.config.output_embedding_dim

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write weights and configuration to the module's folder; they are always safetensors and JSON."""
        write_model(Path(output_path), self.processor.state_dict(), self.processor.config)

    @classmethod
    def load(  # type: ignore[override]  (what it does not name comes in kwargs)
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> Self:
        """The module that `save` wrote to a folder of a pipeline, on this disk or on the hub."""
        folder = cls.load_dir_path(
            model_name_or_path,
            subfolder=subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        if folder is None:
            raise ValueError(f"{model_name_or_path}: no folder {subfolder} with a model of energy-flow")
        return cls(FlowProcessor.from_pretrained(folder))
