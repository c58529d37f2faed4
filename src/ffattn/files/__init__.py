"""Sequences in files: read them, and make numbers of them."""

from typing import TYPE_CHECKING

from ffattn.system.lazy_modules import names_from

if TYPE_CHECKING:
    from ffattn.files.chunks import ScatteredError, SequenceReader
    from ffattn.files.contents import FileContents, open_sequences, read_contents
    from ffattn.files.faults import find_faults, refuse_faults
    from ffattn.files.fitting import FitRule, fit_preparation
    from ffattn.files.layouts import Layout
    from ffattn.files.preparation import Feature, Preparation, Target
    from ffattn.files.preprocessing import Preprocessing, Scaling, prepare_inputs, prepare_targets
    from ffattn.files.reading import read_sequences
    from ffattn.files.row_groups import ParquetPieces, open_pieces
    from ffattn.files.sequences import RawSequences
    from ffattn.files.splits import SplitRule, assign_parts
    from ffattn.files.tables import locate

__all__ = [
    "Feature",
    "FileContents",
    "FitRule",
    "Layout",
    "ParquetPieces",
    "Preparation",
    "Preprocessing",
    "RawSequences",
    "Scaling",
    "ScatteredError",
    "SequenceReader",
    "SplitRule",
    "Target",
    "assign_parts",
    "find_faults",
    "fit_preparation",
    "locate",
    "open_pieces",
    "open_sequences",
    "prepare_inputs",
    "prepare_targets",
    "read_contents",
    "read_sequences",
    "refuse_faults",
]

__getattr__, __dir__ = names_from(
    __name__,
    __all__,
    "layouts",
    "splits",
    "sequences",
    "preparation",
    "fitting",
    "tables",
    "reading",
    "contents",
    "faults",
    "chunks",
    "row_groups",
    "preprocessing",
)
