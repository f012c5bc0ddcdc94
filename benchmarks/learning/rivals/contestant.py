"""A rival as the board trains it: rows in, rows out.

Shapes: `B` rows, `E` input width, `T` target width, `S` cells, `c` and `k` numbers of a cell, `C` energy channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from energy_flow.core.embedding_mapper import EmbeddingMapper
from energy_flow.data.pairs import Size

from .rival import Course, Rival


class Contestant(nn.Module):
    """Rows (B, E) to read-outs (B, T) of them; this one runs a module over whole rows."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, rows: Tensor, course: Course) -> list[Tensor]:
        """(B, E) rows to every read-out, (B, T); the last one is the answer."""
        return [self.inside(rows)]


class OverCells(Contestant):
    """Cuts rows into equal chunks, one for each cell, and reads a chunk of the target from each.

    Args:
        rival: over the cells.
        cell_in: c; rows that are shorter than S c are filled up with zeros.
        target_width: T where S k is more; None takes all.
    """

    def __init__(self, rival: Rival, cell_in: int, target_width: int | None = None) -> None:
        super().__init__(rival)
        self.cell_in, self.target_width = cell_in, target_width

    def forward(self, rows: Tensor, course: Course) -> list[Tensor]:
        """(B, E) rows to every read-out, (B, T)."""
        prelude = course.prelude
        if prelude is not None:
            prelude = prelude._replace(embeddings=self._cells(prelude.embeddings, course.face))
        found = self.inside(self._cells(rows, course.face), course._replace(prelude=prelude))
        return [read.flatten(1)[:, : self.target_width] for read in found]

    def _cells(self, rows: Tensor, face: Size) -> Tensor:
        missing = face[0] * face[1] * self.cell_in - rows.shape[1]
        return nn.functional.pad(rows, (0, missing)).unflatten(1, (-1, self.cell_in))


class InFaces(Contestant):
    """A rival between the lattice's faces, in the place of the flows: C numbers of a site enter and leave.

    Args:
        rival: over the sites.
        mapper: the faces.
    """

    def __init__(self, rival: Rival, mapper: EmbeddingMapper) -> None:
        super().__init__(rival)
        self.mapper = mapper

    def forward(self, rows: Tensor, course: Course) -> list[Tensor]:
        """(B, E) rows to every read-out, (B, T)."""
        prelude = course.prelude
        if prelude is not None:
            prelude = prelude._replace(embeddings=self.mapper.to_sites(prelude.embeddings))
        found = self.inside(self.mapper.to_sites(rows), course._replace(prelude=prelude))
        return [self.mapper.to_embedding(read) for read in found]
