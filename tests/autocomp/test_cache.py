from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from autocomp import cache


def test_the_environment_variable_names_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMP_CACHE", str(tmp_path))
    assert cache.directory() == tmp_path
    monkeypatch.delenv("AUTOCOMP_CACHE")
    assert cache.directory() == Path(platformdirs.user_cache_dir("autocomp"))


def test_the_same_content_has_the_same_name_and_any_difference_another() -> None:
    zeros = np.zeros((2, 3), np.uint8)
    names = [
        cache.digest(zeros, {"a": 1, "b": 2}),
        cache.digest(zeros.reshape(3, 2), {"a": 1, "b": 2}),
        cache.digest(zeros.view(np.int8), {"a": 1, "b": 2}),
        cache.digest(zeros, {"a": 1, "b": 3}),
        cache.digest("ab", "c"),
        cache.digest("a", "bc"),
    ]
    assert len(set(names)) == len(names)
    assert names[0] == cache.digest(zeros.copy(), {"b": 2, "a": 1})
    assert cache.digest(zeros.T) == cache.digest(np.ascontiguousarray(zeros.T))


def test_an_entry_appears_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    assert cache.store(tmp_path / "kind" / "entry", lambda new: new.write_text("content"))
    assert [path.read_text() for path in (tmp_path / "kind").iterdir()] == ["content"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    def stop_half_way(new: Path) -> None:
        new.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.store(tmp_path / "entry", stop_half_way)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert not cache.store(tmp_path / "file" / "entry", lambda new: new.write_text("content"))
    assert "cannot be written" in caplog.text
