"""Sequences that lie in files: reading them, and making numbers of them."""

from ffattn.files.chunks import ScatteredError, Sequential
from ffattn.files.layouts import Layout, Raw, read
from ffattn.files.preparation import Feature, Preparation, Target, fit
from ffattn.files.row_groups import Pieces, in_pieces
from ffattn.files.tables import locate

__all__ = [
    "Feature",
    "Layout",
    "Pieces",
    "Preparation",
    "Raw",
    "ScatteredError",
    "Sequential",
    "Target",
    "fit",
    "in_pieces",
    "locate",
    "read",
]
