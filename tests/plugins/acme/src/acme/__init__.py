"""A vector processor as an autocomp plug-in."""

from acme.model import VectorProcessor

__all__ = ["VectorProcessor"]
