"""Random numbers that are functions of their address: Philox 4x32-10, the same bits from every implementation."""

from ffattn.rng.inputs import Address, Choice
from ffattn.rng.philox import fill_inputs, fill_words

__all__ = ["Address", "Choice", "fill_inputs", "fill_words"]
