"""Tasks: data, how a network takes it, and a trained teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocomp.errors import DataError
from autocomp.tasks.base import ImageSet, Task
from autocomp.tasks.classification import ClassificationTask
from autocomp.tasks.digits import DigitsTask
from autocomp.tasks.images import accuracy, evaluate, to_input

__all__ = ["ClassificationTask", "DigitsTask", "ImageSet", "Task", "accuracy", "evaluate", "rebuild", "to_input"]

# a description that came with a model is data: only these are ever built from it
_KNOWN: Mapping[str, type] = {f"autocomp.tasks.{kind.__name__}": kind for kind in (ClassificationTask, DigitsTask)}


def rebuild(description: Mapping[str, Any]) -> Task:
    """The task that `Task.describe` described.

    Raises:
        DataError: if it is not one of autocomp's own tasks, or its data is not there.
    """
    arguments = dict(description)
    target = arguments.pop("_target_", None)
    if target not in _KNOWN:
        raise DataError(f"A task that came with a model must be one of {', '.join(_KNOWN)}, but is '{target}'; build it yourself.")
    task: Task = _KNOWN[target](**arguments)
    return task
