"""How the dense part of a step runs: the choices, as data."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_COMPILED_ROWS = 8  # torch compiles anew for 0 rows and for 1; fewer than this are padded


@dataclass(frozen=True)
class Execution:
    """How neuron and carrier run. The numbers are the same to rounding, and with `checkpointed` alone to the bit.

    Attributes:
        compiled: by torch.compile: Inductor's kernels for everything between the products.
        graphed: compiled, and replayed as CUDA graphs: one for each number of rows, so with a row bucket.
        checkpointed: a step's inputs alone are kept, and the rest is computed again in the backward pass.
        row_bucket: rows are padded to a multiple: fewer sizes for libraries that keep something for each size.
        fused: forms with a backward pass written out, where the parts are the package's own; otherwise neuron and
            carrier are called as the modules they are.
    """

    compiled: bool = False
    graphed: bool = False
    checkpointed: bool = False
    row_bucket: int = 1
    fused: bool = True

    def padded(self, rows: int) -> int:
        """Rows, padding included."""
        least = LEAST_COMPILED_ROWS if self.compiled else 1
        return max(least, -(-rows // self.row_bucket) * self.row_bucket)
