"""The verbs and their options; each hands over to the module that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import autocomp

app = typer.Typer(
    help="Make trained networks small and fast for one given piece of hardware.",
    add_completion=False,
    rich_markup_mode=None,  # plain help loads in a fraction of the time
    pretty_exceptions_enable=False,
)
hw = typer.Typer(help="Look at hardware models and ask them for prices.")
models = typer.Typer(help="Look at registered models.")
app.add_typer(hw, name="hw")
app.add_typer(models, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ConfigDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with configuration files of your own.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")]
Prefer = Annotated[
    str | None, typer.Option(metavar="RULE", help="Which member of the front is the best: knee, cheapest, accurate, weighted.")
]
Uri = Annotated[str, typer.Option(help="MLflow tracking address.")]
DEFAULT_URI = "sqlite:///mlflow.db"


def print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"autocomp {autocomp.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Make trained networks small and fast for one given piece of hardware."""


@app.command()
def search(
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting of the configuration.")] = None,
    hw: Annotated[str | None, typer.Option(help="Hardware or device to design for; see `autocomp hw list`.")] = None,
    task: Annotated[str | None, typer.Option(help="Data and teacher network: digits, mnist, cifar10, classification, ...")] = None,
    searcher: Annotated[str | None, typer.Option(help="Who proposes: annealing, rl, portfolio, knapsack, tpe, nsga2, random, ...")] = None,
    space: Annotated[str | None, typer.Option(help="What may be done to the layers: default, bits, prune, ...")] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    budget: Annotated[str | None, typer.Option(help="Time or image passes of the whole run: 90s, 20m, 1.5h, 2e6img.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    prefer: Prefer = None,
    warm_start: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Folder of an earlier run to learn from; again for more.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Run folder.")] = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
) -> None:
    """Search the compression of a network that suits a piece of hardware."""
    from autocomp.cli.running import start

    earlier = [str(folder) for folder in warm_start or []] or None
    named = {"hw": hw, "task": task, "searcher": searcher, "space": space, "trials": trials, "workers": workers, "seed": seed, "out": out}
    named |= {"budget": budget, "best.rule": prefer}
    given: dict[str, object] = {**named, "warm_start": earlier}
    start({key: value for key, value in given.items() if value is not None}, settings or [], config_dir=config_dir, quiet=quiet)


@app.command()
def profile(
    settings: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Any setting of the configuration.")] = None,
    hw: Annotated[str | None, typer.Option(help="Hardware or device; only the space of some depends on it.")] = None,
    task: Annotated[str | None, typer.Option(help="Data and teacher network: digits, mnist, cifar10, classification, ...")] = None,
    space: Annotated[str | None, typer.Option(help="What may be done to the layers: default, bits, prune, ...")] = None,
    workers: Annotated[int | None, typer.Option(help="Measurements at a time.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the images, and of what is tried together; a search uses 0.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for tables and pictures.")] = None,
    config_dir: ConfigDir = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure what each single choice costs, layer by layer; a search does so by itself."""
    from autocomp.cli.profiling import profile_network

    named = {"hw": hw, "task": task, "space": space, "workers": workers, "profile.seed": seed, "out": out}
    given = {key: value for key, value in named.items() if value is not None}
    profile_network(given, settings or [], config_dir=config_dir, quiet=quiet, as_json=json)


@app.command()
def resume(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")], quiet: Quiet = False) -> None:
    """Continue a run that was stopped; finished trials are kept."""
    from autocomp.cli.running import go_on

    go_on(folder, quiet=quiet)


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.")],
    settings: Annotated[
        list[str] | None, typer.Argument(metavar="[best.KEY=VALUE]...", help="Choose the best anew, by other settings.")
    ] = None,
    prefer: Prefer = None,
    json: Json = False,
) -> None:
    """Print the result of a finished run, or what would be its best by another rule."""
    from autocomp.cli.results import show_run

    show_run(folder, [*(settings or []), *([f"best.rule={prefer}"] if prefer else [])], as_json=json)


@app.command()
def pull(
    reference: Annotated[str, typer.Argument(metavar="NAME[@ALIAS]", help="A registered model; @best if nothing else is said.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")],
    uri: Uri = DEFAULT_URI,
) -> None:
    """Fetch the files of a registered model."""
    from autocomp.cli.results import pull_model

    pull_model(reference, uri=uri, out=out)


@app.command()
def evaluate(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a pulled model.")], json: Json = False) -> None:
    """Measure a pulled model on its task's test data and compare with what was reported."""
    from autocomp.cli.results import evaluate_model

    evaluate_model(folder, as_json=json)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a pulled model or of a run.")],
    format: Annotated[str, typer.Option(help="onnx, qonnx, packed or pt2.")],
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="The file; in the model's folder if not given.")] = None,
    json: Json = False,
) -> None:
    """Write a model in another format, load it back and compare."""
    from autocomp.cli.exporting import export_model

    export_model(folder, format=format, out=out, as_json=json)


@app.command()
def measure(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a pulled model or of a run.")],
    threads: Annotated[list[int] | None, typer.Option(help="Threads to use; again for more. One and all if not said.")] = None,
    batch: Annotated[int, typer.Option(help="Images per pass.")] = 1,
    json: Json = False,
) -> None:
    """Measure a model's bytes, parameters, MACs and milliseconds beside its teacher's."""
    from autocomp.cli.exporting import measure_model

    measure_model(folder, threads=threads or [], batch=batch, as_json=json)


@models.command("list")
def models_list(uri: Uri = DEFAULT_URI, json: Json = False) -> None:
    """List registered models with their versions and aliases."""
    from autocomp.cli.results import list_registered

    list_registered(uri, as_json=json)


@models.command("table")
def models_table(json: Json = False) -> None:
    """Print the sizes of well-known networks, as a survey printed them and as counted here."""
    from autocomp.cli.model_table import show_model_table

    show_model_table(as_json=json)


@hw.command("list")
def hw_list(config_dir: ConfigDir = None, json: Json = False) -> None:
    """List every name that --hw takes."""
    from autocomp.cli.hardware import list_hardware

    list_hardware(config_dir, as_json=json)


@hw.command("show")
def hw_show(name: Annotated[str, typer.Argument(metavar="NAME")], config_dir: ConfigDir = None) -> None:
    """Print the figures that a hardware model rests on, with their sources."""
    from autocomp.cli.hardware import show_hardware

    show_hardware(name, config_dir)


@hw.command("score")
def hw_score(
    name: Annotated[str, typer.Option("--hw", metavar="NAME", help="Hardware or device; see `autocomp hw list`.")] = "fpga",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Network (vgg16, resnet50, ...), or the .csv file of a layer table.")
    ] = "resnet20",
    weight_bits: Annotated[int | None, typer.Option(help="Bits of every weight, 1 to 32; else the network's own, or 8.")] = None,
    activation_bits: Annotated[int | None, typer.Option(help="Bits of every activation, 1 to 32; else the network's own, or 8.")] = None,
    batch: Annotated[int, typer.Option(help="Images per pass.")] = 1,
    config_dir: ConfigDir = None,
    json: Json = False,
) -> None:
    """Price a network layer by layer."""
    from autocomp.cli.hardware import score_model

    score_model(name, model, bits=(weight_bits, activation_bits), batch=batch, config_dir=config_dir, as_json=json)


@hw.command("explore")
def hw_explore(
    name: Annotated[str, typer.Option("--hw", metavar="NAME", help="Hardware or device; see `autocomp hw list`.")] = "fpga",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Network (vgg16, resnet50, ...), or the .csv file of a layer table.")
    ] = "resnet20",
    axis: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V1,V2,...", help="Values of a key of the device file; again for more. None: the family's usual ones."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="The most of a resource (DSP, ...) or price (latency_s, ...).")
    ] = None,
    objectives: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Prices and resources to be small; latency_s,energy_j,area_mm2 if not said.")
    ] = None,
    weight_bits: Annotated[int | None, typer.Option(help="Bits of every weight, 1 to 32; else the network's own, or 8.")] = None,
    activation_bits: Annotated[int | None, typer.Option(help="Bits of every activation, 1 to 32; else the network's own, or 8.")] = None,
    batch: Annotated[int, typer.Option(help="Images per pass.")] = 1,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for plot and tables.")] = None,
    config_dir: ConfigDir = None,
    json: Json = False,
) -> None:
    """Find the designs of a device that suit a network best."""
    from autocomp.cli.exploring import Question, explore_designs

    question = Question(axes=axis or [], limits=limit or [], objectives=objectives, bits=(weight_bits, activation_bits), batch=batch)
    explore_designs(name, model, question, out=out, config_dir=config_dir, as_json=json)


@hw.command("validate")
def hw_validate(
    family: Annotated[str | None, typer.Option(metavar="NAME", help="Only one family: fpga, asic or rram.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Measurements of your own; hwmodels/published shows the format.")] = None,
    json: Json = False,
) -> None:
    """Recompute published figures and print how far each price is from them."""
    from autocomp.cli.validating import validate

    validate(family, csv, as_json=json)
