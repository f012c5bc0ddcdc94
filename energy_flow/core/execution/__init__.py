"""How the physics runs: weights prepared once for a run, fast forms of the step's parts, compilation, memory.

Nothing here changes what is computed but for rounding; `tests/test_fast_paths.py` holds every form against the others
and against the slow twin.
"""

from .entry import as_rows, refuse_transforms
from .executor import Executor, gather_sharded
from .plan import Execution
from .static import StaticForm

__all__ = ["Execution", "Executor", "StaticForm", "as_rows", "gather_sharded", "refuse_transforms"]
