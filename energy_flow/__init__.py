"""Energy Flow: embeddings sent as flows of energy through a 3D lattice, trained end to end."""

from .config import EnergyConfig, create_config
from .core import EnergyCarrier, EnergyLattice, FlowProcessor, FlowResult, SimpleNeuron, create_processor
from .models import load
from .training import EnergyTrainer, load_model, save_model

__version__ = "0.1.0"

__all__ = [
    "EnergyCarrier",
    "EnergyConfig",
    "EnergyLattice",
    "EnergyTrainer",
    "FlowProcessor",
    "FlowResult",
    "SimpleNeuron",
    "create_config",
    "create_processor",
    "load",
    "load_model",
    "save_model",
]
