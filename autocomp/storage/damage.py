"""What a reader says of bytes that no writer made."""

from __future__ import annotations


class DamageError(ValueError):
    """Stored data breaks a rule of its format; `unpack` turns it into the line that a user sees."""
