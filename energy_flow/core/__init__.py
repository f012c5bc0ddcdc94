"""The physics: flows, neuron, carrier, lattice, faces, and the processor that steps them. `execution`: how it runs."""

from .embedding_mapper import EmbeddingMapper
from .energy_carrier import CarrierOutput, EnergyCarrier
from .energy_lattice import EnergyLattice
from .energy_rules import EnergyRule
from .execution import Execution
from .faces import Face
from .flow_processor import FlowProcessor, create_processor
from .flows import FlowResult, Flows, FlowStatistics, FlowTrace, LatticeState, Place, Prelude, StepResult
from .gru import StackedGRUCell
from .movers import Aimed, Mover
from .perceived import Piece, Seen
from .readers import Reader
from .simple_neuron import SimpleNeuron

__all__ = [
    "Aimed",
    "CarrierOutput",
    "EmbeddingMapper",
    "EnergyCarrier",
    "EnergyLattice",
    "EnergyRule",
    "Execution",
    "Face",
    "FlowProcessor",
    "FlowResult",
    "FlowStatistics",
    "FlowTrace",
    "Flows",
    "LatticeState",
    "Mover",
    "Piece",
    "Place",
    "Prelude",
    "Reader",
    "Seen",
    "SimpleNeuron",
    "StackedGRUCell",
    "StepResult",
    "create_processor",
]
