"""A single thread for what a searcher computes.

The cores belong to the trials. On several threads, matrix products wait actively for those that a busy core holds up: an ask takes ten
times as long. Besides, sums depend on how many threads share them, and the same seed is to give the same asks on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and the BLAS of numpy and scipy compute on one thread within a block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _libraries() -> ThreadpoolController:
    """Those that are loaded by the first ask; finding them takes milliseconds."""
    return ThreadpoolController()
