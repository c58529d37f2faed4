"""Random numbers that are functions of their address: Philox 4x32-10, the same bits from every implementation."""

from ffattn.philox.dispatch import fill

__all__ = ["fill"]
