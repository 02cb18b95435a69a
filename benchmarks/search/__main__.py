"""Compare searchers: ``python -m benchmarks.search --case digits27 --seeds 5``; runs that are on record are not run again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autocomp.cache import write
from benchmarks.record import RESULTS, machine
from benchmarks.search.cases import Case, posed
from benchmarks.search.compare import run
from benchmarks.search.digits27 import digits27
from benchmarks.search.drawing import draw, placed
from benchmarks.search.searchers import RL_PARTS, SEARCHERS

FOLDER = RESULTS / "search"
DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[3] / "shared" / "data"
DEVICES = ("fpga", "asic", "rram")
MNIST = (
    "task=mnist",
    f"task.data={DATA / 'mnist'}",
    "finetune.epochs=1",
    "finetune.images_per_epoch=2000",
    "task.validation_fraction=0.05",
)
CIFAR10 = (
    "task=cifar10",
    f"task.data={DATA / 'cifar10'}",
    f"task.checkpoint={DATA / 'checkpoints' / 'resnet20_cifar10.safetensors'}",
    "finetune.epochs=1",
    "finetune.images_per_epoch=1000",
    "task.validation_fraction=0.02",
    "profile.images=64",  # 256 would cost as much as ten of these short trials
)

CASES: Mapping[str, Callable[[], Case]] = {
    "digits27": digits27,
    "rl-parts": digits27,
    **{f"digits-{hw}": posed(f"digits-{hw}", ("task=digits", f"hw={hw}", "finetune.epochs=2")) for hw in DEVICES},
    **{f"mnist-{hw}": posed(f"mnist-{hw}", (*MNIST, f"hw={hw}")) for hw in DEVICES},
    **{f"cifar10-{hw}": posed(f"cifar10-{hw}", (*CIFAR10, f"hw={hw}")) for hw in DEVICES},
}


def runs(path: Path) -> dict[str, Any]:
    """What is on record of a case."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"runs": {}}


def keep(path: Path, record: Mapping[str, Any]) -> None:
    """Put a file on record in one step."""
    write(path, lambda part: part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8"))


def compare(name: str, chosen: Sequence[str], *, seeds: int, trials: int, concurrent: int) -> None:
    """Run what is missing and write it down, one run after the other."""
    path = FOLDER / f"{name}.json"
    case = CASES[name]()
    for searcher in chosen:
        for seed in range(seeds):
            record = runs(path)
            if f"{seed}" in record["runs"].get(searcher, {}):
                continue
            course = run(case, {**SEARCHERS, **RL_PARTS}[searcher], seed=seed, trials=trials, concurrent=concurrent)
            record = runs(path)
            record["runs"].setdefault(searcher, {})[f"{seed}"] = course.to_record()
            record |= {"concurrent": concurrent, "profile_passes": case.profile_passes, "machine": machine()}
            keep(path, record)
            print(name, searcher, seed, course.to_record()["hypervolume"], flush=True)  # noqa: T201


def table(name: str, at: Sequence[int]) -> str:
    """Mean and standard deviation of the hypervolume over seeds after numbers of trials that some run has, in Markdown, the best first."""
    recorded = runs(FOLDER / f"{name}.json")["runs"]
    at = [n for n in at if any(n in r["trials"] for by_seed in recorded.values() for r in by_seed.values())]
    lines = [f"| {name} | " + " | ".join(f"{n}" for n in at) + " | s per trial |", "|---" * (len(at) + 2) + "|"]
    for searcher, by_seed in sorted(recorded.items(), key=lambda item: -_final(item[1])):
        cells = [_cell([dict(zip(r["trials"], r["hypervolume"], strict=True)).get(n) for r in by_seed.values()]) for n in at]
        seconds = np.mean([r["seconds_per_trial"] for r in by_seed.values()])
        lines.append(f"| {searcher} ({len(by_seed)}) | " + " | ".join(cells) + f" | {seconds:.2f} |")
    return "\n".join(lines)


def _final(by_seed: Mapping[str, Mapping[str, Any]]) -> float:
    return float(np.mean([r["hypervolume"][-1] for r in by_seed.values()]))


def _cell(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{np.mean(known):.3f} ± {np.std(known, ddof=1):.3f}" if len(known) > 1 else f"{known[0]:.3f}" if known else ""


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--case", choices=list(CASES), default="digits27")
    parser.add_argument("--searchers", nargs="+", choices=[*SEARCHERS, *RL_PARTS], help="All of the case if none is named.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=160)
    parser.add_argument("--concurrent", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="Only print the table.")
    parser.add_argument("--docs", action="store_true", help="Put table and picture into docs/search.md.")
    options = parser.parse_args()
    if not options.table:
        chosen = options.searchers or list(RL_PARTS if options.case == "rl-parts" else SEARCHERS)
        compare(options.case, chosen, seeds=options.seeds, trials=options.trials, concurrent=options.concurrent)
    shown = table(options.case, [n for n in (3, 8, 20, 40, 64, 120, 160) if n <= options.trials])
    print(shown)  # noqa: T201
    if options.docs:
        page = DOCS / "search.md"
        text = placed(page.read_text(encoding="utf-8"), options.case, f"{shown}\n\n![{options.case}](search_{options.case}.png)")
        draw(options.case, runs(FOLDER / f"{options.case}.json")["runs"], DOCS / f"search_{options.case}.png")
        write(page, lambda part: part.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
