"""Exporting: a model folder's network in another format, loaded back and compared before the file gets its name."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from autocomp.errors import AutocompError, UnknownNameError, UsageError
from autocomp.export import PROGRAM, load_program, read_record
from autocomp.files import new_file
from autocomp.storage import pack, unpack
from autocomp.tasks import rebuild, to_input

FORMATS: Mapping[str, str] = {"onnx": "model.onnx", "pt2": PROGRAM, "qonnx": "model.qonnx.onnx", "packed": "model.packed"}
"""Formats, and what a file is called that nobody named."""

IMAGES, SLOW_IMAGES = 64, 8
"""Images that an export is compared on; fewer where numpy computes the network."""

_SUMMARY, _MODELS = "summary.json", "models"
_FLOAT = 1e-4  # of the largest score: what the order of additions may change
_STEPS = 1  # of the scores' range, in steps of the narrowest quantizer

Images = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from the network that it came from.

    Attributes:
        format: one of `FORMATS`.
        path: of the file.
        bytes: its length.
        integer_layers, float_layers: convolutions and linear layers that run on integers, or are `Quant`-ized, and the others;
            None where the format does not say.
        images: how many were compared.
        inputs: "test images" of the task, or "random".
        max_abs_difference: of any score of any image.
        tolerance: what the difference must not exceed, see `tolerance_of`.
        agreement: share of images with the same best class.
    """

    format: str
    path: str
    bytes: int
    integer_layers: int | None
    float_layers: int | None
    images: int
    inputs: str
    max_abs_difference: float
    tolerance: float
    agreement: float


def model_folder(folder: Path) -> Path:
    """The folder of a pulled model itself, or that of a run's best member.

    Raises:
        UsageError: if it is neither.
    """
    if (folder / PROGRAM).is_file() or not (folder / _SUMMARY).is_file():
        return folder  # reading it will say what is missing
    best = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))["best"]
    if not best:
        raise UsageError(f"A run is exported by its best member, but {folder} has none; name a folder of {folder / _MODELS}.")
    return member_folder(folder, best["trial_id"])


def member_folder(folder: Path, trial: int) -> Path:
    """Where a run's folder has the model of a member of its front."""
    return folder / _MODELS / f"trial-{trial:04d}"


def export_folder(folder: Path, format: str, out: Path | None = None) -> Exported:
    """Write the network of a folder in a format, load it back, compare, and only then give the file its name.

    Args:
        folder: of a pulled model, or of a run.
        format: one of `FORMATS`.
        out: the file; in the model's folder if not given. A file that is there is replaced.

    Raises:
        UnknownNameError: if there is no such format.
        UsageError: if the folder holds no model, or what the format needs is not installed.
        AutocompError: if the network has no form in the format, or what was loaded back computes something else.
    """
    if format not in FORMATS:
        raise UnknownNameError("export format", format, FORMATS)
    folder = model_folder(folder)
    if format == "pt2" and out is None:
        raise UsageError(f"The folder has a {PROGRAM} already, which an export to pt2 would replace; name another file with --out.")
    if format in ("onnx", "qonnx"):
        require_onnx()
    path = out or folder / FORMATS[format]
    record, program = read_record(folder), load_program(folder)
    images, inputs = _images(record, SLOW_IMAGES if format == "qonnx" else IMAGES)
    wanted = scores_of(program.module(), images)
    tolerance = tolerance_of(program, images, wanted) if format in ("onnx", "qonnx") else 0.0
    with new_file(path) as part:
        counts, scores = _WRITERS[format](program, part, images, wanted, tolerance)
        difference = float(np.abs(scores - wanted).max())
        if not difference <= tolerance:  # not a number fails, too
            raise AutocompError(
                f"The {format} export differs from its network by {difference:.3g}, more than {tolerance:.3g}; none was written."
            )
    agreement = float((scores.argmax(1) == wanted.argmax(1)).mean())
    return Exported(format, str(path), path.stat().st_size, *counts, len(images), inputs, difference, tolerance, agreement)


def require_onnx() -> None:
    """Raise what to install, where ONNX is missing.

    Raises:
        UsageError: if onnx or onnxruntime is not installed.
    """
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX needs the package {' and '.join(missing)}; install it with `pip install autocomp[export]`.")


def _images(record: Mapping[str, Any], count: int) -> tuple[Images, str]:
    """Test images as the network takes them, else random ones of the same mean and spread."""
    try:
        images = rebuild(record["data"]).test()
        return to_input(images.images[:count], tuple(record["mean"]), tuple(record["std"])).numpy(), "test images"
    except AutocompError:
        return np.random.default_rng(0).standard_normal((count, *record["input_shape"])).astype(np.float32), "random"


def scores_of(network: nn.Module, images: Images) -> Images:
    """What a network says, ``n x classes``."""
    with torch.inference_mode():
        scores: Tensor = network(torch.from_numpy(images))
    return scores.numpy()


def tolerance_of(program: torch.export.ExportedProgram, images: Images, wanted: Images) -> float:
    """How far an export's scores may be from the network's.

    Without quantizers, what the order of additions changes. With them a value near the middle of two steps may go either way,
    in any engine: one step of the narrowest quantizer, of the range of the scores, and twice what computing in double precision
    instead of single changes, which is the same effect measured on the network itself.
    """
    from autocomp.export.quantizers import levels_of, quantize
    from autocomp.export.reading import read_program

    widths = [levels_of(n) for n in read_program(program).graph.nodes if n.target is quantize]
    tolerance = _FLOAT * max(float(np.abs(wanted).max()), 1e-3)
    if not widths:
        return tolerance
    step = float(np.ptp(wanted)) / max(min(w.high - w.low for w in widths), 1)
    return tolerance + _STEPS * step + 2 * float(np.abs(_in_double(program, images) - wanted).max())


def _in_double(program: torch.export.ExportedProgram, images: Images) -> NDArray[np.float64]:
    with torch.inference_mode():
        state = {name: value.double() if value.is_floating_point() else value for name, value in program.state_dict.items()}
        scores: Tensor = functional_call(program.module(), state, torch.from_numpy(images).double())
    return scores.numpy()


Counted = tuple[int | None, int | None]
Writing = Callable[[torch.export.ExportedProgram, Path, Images, Images, float], tuple[Counted, Images]]


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, images: Images, wanted: Images, tolerance: float
) -> tuple[Counted, Images]:
    from autocomp.export.integer import write_integer
    from autocomp.export.reading import read_program
    from autocomp.export.running import run_onnx

    for exact in (False, True):
        model, counts = write_integer(read_program(program), exact=exact)
        path.write_bytes(model.SerializeToString())
        scores = run_onnx(path, images)
        if float(np.abs(scores - wanted).max()) <= tolerance:
            break
    return (counts.integer, counts.float), scores


def _write_qonnx(program: torch.export.ExportedProgram, path: Path, images: Images, *_: Any) -> tuple[Counted, Images]:
    import onnx

    from autocomp.export.qonnx import run_qonnx, write_qonnx
    from autocomp.export.reading import read_program

    model, counts = write_qonnx(read_program(program))
    path.write_bytes(model.SerializeToString())
    return (counts.integer, counts.float), run_qonnx(onnx.load(path), images)


def _write_program(program: torch.export.ExportedProgram, path: Path, images: Images, *_: Any) -> tuple[Counted, Images]:
    with path.open("wb") as file:  # torch wants the name of a path to end in .pt2
        torch.export.save(program, file)
    with path.open("rb") as file:
        return (None, None), scores_of(torch.export.load(file).module(), images)


def _write_packed(program: torch.export.ExportedProgram, path: Path, images: Images, *_: Any) -> tuple[Counted, Images]:
    pack(_Holder(program.state_dict), path)
    network = program.module()
    network.load_state_dict(unpack(path))
    return (None, None), scores_of(network, images)


class _Holder(nn.Module):
    """A state dictionary as a module."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, value in state.items():
            *parents, last = name.split(".")
            module: nn.Module = self
            for parent in parents:
                if parent not in dict(module.named_children()):
                    module.add_module(parent, nn.Module())
                module = module.get_submodule(parent)
            module.register_buffer(last, value.detach())


_WRITERS: Mapping[str, Writing] = {"onnx": _write_onnx, "qonnx": _write_qonnx, "pt2": _write_program, "packed": _write_packed}


def described(exported: Exported) -> dict[str, Any]:
    """The export as JSON data."""
    return asdict(exported)
