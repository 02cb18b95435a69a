"""What all tests share: a cache of their own, and the digits with a teacher that is trained once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # the tests of hwmodels must not wait for torch
    from autocomp.tasks import DigitsTask

collect_ignore = ["plugins"]  # packages of their own, whose tests run where they are installed


os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks are slower on several threads, most of all on a busy machine


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOCOMP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits() -> DigitsTask:
    """The default task; its first `teacher()` trains, the following ones come from the session's cache."""
    from autocomp.tasks import DigitsTask

    return DigitsTask()
