"""Export: a compressed network as files that load without autocomp, and as ONNX for the engines of others."""

from __future__ import annotations

from autocomp.export.program import (
    CARD,
    PROGRAM,
    RECORD,
    WEIGHTS,
    bake,
    load_network,
    load_program,
    read_record,
    trace_program,
    write_model,
    write_record,
)

__all__ = [
    "CARD",
    "PROGRAM",
    "RECORD",
    "WEIGHTS",
    "bake",
    "load_network",
    "load_program",
    "read_record",
    "trace_program",
    "write_model",
    "write_record",
]
