"""Random numbers that are functions of their address: Philox 4x32-10, the same bits from every implementation."""

from ffattn.philox.dispatch import fill_inputs, fill_words
from ffattn.philox.inputs import Address, Choice

__all__ = ["Address", "Choice", "fill_inputs", "fill_words"]
