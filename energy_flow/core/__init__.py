"""The physics: flows, neuron, carrier, lattice, faces, and the processor that steps them."""

from .dense_part import Execution
from .embedding_mapper import EmbeddingMapper
from .energy_carrier import CarrierOutput, EnergyCarrier
from .energy_lattice import EnergyLattice
from .flow_processor import FlowProcessor, create_processor
from .flows import FlowResult, Flows, FlowStatistics, FlowTrace, LatticeState, StepResult
from .gru import StackedGRUCell
from .simple_neuron import SimpleNeuron

__all__ = [
    "CarrierOutput",
    "EmbeddingMapper",
    "EnergyCarrier",
    "EnergyLattice",
    "Execution",
    "FlowProcessor",
    "FlowResult",
    "FlowStatistics",
    "FlowTrace",
    "Flows",
    "LatticeState",
    "SimpleNeuron",
    "StackedGRUCell",
    "StepResult",
    "create_processor",
]
