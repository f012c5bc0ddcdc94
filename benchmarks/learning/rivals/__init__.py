"""What the lattice is compared with, one rival a file."""

from .cell_gru import CellGRU
from .closed_forms import WindowRidge, identity_linear, procrustes, ridge
from .contestant import Contestant, InFaces, OverCells
from .conv_gru import ConvGRU
from .lattice_off import LatticeOff
from .looped_transformer import LoopedTransformer
from .residual_mlp import ResidualMLP, WindowMLP
from .rival import Begun, Course, Looped, Rival
from .transformer import Transformer

__all__ = [
    "Begun",
    "CellGRU",
    "Contestant",
    "ConvGRU",
    "Course",
    "InFaces",
    "LatticeOff",
    "Looped",
    "LoopedTransformer",
    "OverCells",
    "ResidualMLP",
    "Rival",
    "Transformer",
    "WindowMLP",
    "WindowRidge",
    "identity_linear",
    "procrustes",
    "ridge",
]
