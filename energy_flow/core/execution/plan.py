"""How the dense part of a step runs: the choices, as data."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

LEAST_COMPILED_ROWS = 8  # torch compiles anew for 0 rows and for 1; fewer than this are padded


@dataclass(frozen=True)
class Execution:
    """How neuron and carrier run. The numbers are the same to rounding, and with `checkpointed` alone to the bit.

    Attributes:
        compiled: by torch.compile: Inductor's kernels for everything between the products.
        on_failure: told in words where the compiler fails, in the middle of a run perhaps, and the run goes on without
            it; without one, what the compiler raised is raised.
        graphed: compiled, and replayed as CUDA graphs: one for each number of rows, so with a row bucket.
        checkpointed: a step's inputs alone are kept, and the rest is computed again in the backward pass.
        row_bucket: rows are padded to a multiple: fewer sizes for libraries that keep something for each size.
        fused: forms with a backward pass written out, where the parts are the package's own; otherwise neuron and
            carrier are called as the modules they are.
    """

    compiled: bool = False
    on_failure: Callable[[str], None] | None = None
    graphed: bool = False
    checkpointed: bool = False
    row_bucket: int = 1
    fused: bool = True

    def padded(self, rows: int, sizes: Container[int] = ()) -> int:
        """Rows, padding included.

        Args:
            rows: those there are.
            sizes: of the weights. The compiler must not see as many rows: it compares numbers of rows with sizes, and
                where both are equal it makes the rows a constant.
        """
        padded = max(LEAST_COMPILED_ROWS if self.compiled else 1, -(-rows // self.row_bucket) * self.row_bucket)
        while self.compiled and padded in sizes:
            padded += self.row_bucket
        return padded
