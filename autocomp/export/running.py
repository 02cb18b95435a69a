"""Running an ONNX file with ONNX Runtime on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

_EXACT_SUMS = ("session.x64quantprecision", "1")
"""On processors without VNNI instructions sums of two products would saturate at 16 bits."""


def open_onnx(path: Path, *, threads: int = 0, optimized: Path | None = None) -> Any:
    """A session.

    Args:
        path: of the file.
        threads: that one operator may use; 0 for all processors.
        optimized: where to write the graph that is really run; None for nowhere.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; a written optimized graph would be warned of
    options.add_session_config_entry(*_EXACT_SUMS)
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_onnx(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of a file's network, ``n x classes``."""
    session = open_onnx(path, threads=1)
    (scores,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(scores, np.float32)
