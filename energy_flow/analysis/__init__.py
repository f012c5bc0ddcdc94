"""What the flows of a model do, and whether it matters: routes, measures of emergence, their nulls, experiments."""

from .attribution import Attribution, attribute
from .catalogue import MEASURES
from .comparison import Comparison
from .emergence import Emergence, Value
from .labels import Labels, labels_of
from .page import page_of
from .routes import Routes
from .samples import Samples
from .study import Analysis, analyze
from .trace import Trace
from .trace_file import TraceWriter

__all__ = [
    "MEASURES",
    "Analysis",
    "Attribution",
    "Comparison",
    "Emergence",
    "Labels",
    "Routes",
    "Samples",
    "Trace",
    "TraceWriter",
    "Value",
    "analyze",
    "attribute",
    "labels_of",
    "page_of",
]
