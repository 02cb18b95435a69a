"""Bad arguments of searchers end with the rule, the value and the name, before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import pytest

from autocomp.cli.building import build_searcher
from autocomp.cli.composing import ConfigTree
from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.arguments import check

Toy = Callable[..., Problem]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["+searcher.chains=abc"], "`searcher.chains` must be a whole number, but is 'abc'."),
        (["+searcher.chains=1.5"], "`searcher.chains` must be a whole number, but is 1.5."),
        (["+searcher.steps=abc"], "`searcher.steps` must be a whole number or null, but is 'abc'."),
        (["searcher.surrogate=3"], "`searcher.surrogate` must be true or false, but is 3."),
        (["+searcher.hottest=true"], "`searcher.hottest` must be a number, but is True."),
        (["+searcher.problem=3"], "`searcher.problem` cannot be set, because a search gives it its problem."),
        (["+searcher.foo=1"], "unexpected keyword argument 'foo'"),
        (["+searcher.rounds=-1"], "`searcher.rounds` must be at least 0, but is -1."),
        (["+searcher.chains=0"], "`searcher.chains` must be at least 1, but is 0."),
        (["+searcher.coldest=0"], "`searcher.coldest` must be above 0 and at most `searcher.hottest`, but they are 0 and 0.01."),
        (["+searcher.soft=8"], "`searcher.soft` must be at least `searcher.hard`, but they are 8 and 64."),
        (["searcher=rl", "+searcher.foo=1"], "unexpected keyword argument 'foo'"),
        (["searcher=rl", "+searcher.walk=3"], "`searcher.walk` cannot be set, because a search gives it its walk."),
        (["searcher=rl", "+searcher.goals=3"], "`searcher.goals` cannot be set, because a search gives it its goals."),
        (["searcher=portfolio", "+searcher.members={rl: {problem: 1}}"], "`searcher.problem` cannot be set"),
        (["searcher=rl", "+searcher.hidden=abc"], "`searcher.hidden` must be a whole number, but is 'abc'."),
        (["searcher=rl", "+searcher.hidden=0"], "`searcher.hidden` must be at least 1, but is 0."),
        (["searcher=rl", "+searcher.parents=0"], "`searcher.parents` must be at least 1, but is 0."),
        (["searcher=rl", "+searcher.noise=0.01"], "`searcher.last_noise` must be above 0 and at most `searcher.noise`"),
        (["searcher=rl", "+searcher.proposals=abc"], "`searcher.proposals` must be a whole number or null, but is 'abc'."),
        (["searcher=amc", "searcher.budget=abc"], "`searcher.budget` must be a number, but is 'abc'."),
        (["searcher=amc", "searcher.warmup=-1"], "`searcher.warmup` must be at least 0, but is -1."),
        (["searcher=rl", "searcher.preset=haq", "searcher.budget=abc"], "`searcher.budget` must be a number or null, but is 'abc'."),
        (["searcher=portfolio", "+searcher.members={annealing: {chains: abc}}"], "`searcher.chains` must be a whole number, but is 'abc'."),
        (["searcher=portfolio", "+searcher.members={rl: {foo: 1}}"], "unexpected keyword argument 'foo'"),
        (["+searcher.knobs=nan"], "`searcher.knobs` must be at least 1, but is nan."),
        (["+searcher.known=3"], "`searcher.known` must be a Knowledge or null, but is 3."),
        (["+searcher.known=abc"], "`searcher.known` must be a Knowledge or null, but is 'abc'."),
        (["searcher=rl", "+searcher.rate=nan"], "`searcher.rate` must be at least 0, but is nan."),
        (["searcher=portfolio", "+searcher.members=3"], "`searcher.members` must be a Mapping or null, but is 3."),
        (["searcher=portfolio", "+searcher.members={rl: 3}"], "`searcher.members.rl` must be a mapping of settings, but is 3."),
        (["searcher=portfolio", "+searcher.members={rl: {known: 3}}"], "`searcher.known` must be a Knowledge or null, but is 3."),
        (["searcher=nsga2", "+searcher.population=1"], "`searcher.population` must be at least 2, but is 1."),
    ],
)
def test_a_bad_argument_is_one_line(toy: Toy, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_searcher(ConfigTree().compose(settings))(problem=toy(3), seed=0, trials=8)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_good_arguments_reach_the_searcher(toy: Toy) -> None:
    config = ConfigTree().compose(["+searcher.rounds=4", "+searcher.hottest=1", "+searcher.steps=null"])
    searcher = build_searcher(config)(problem=toy(3), seed=0, trials=8)
    assert (searcher.rounds, searcher.hottest) == (4, 1)


def test_annotations_for_type_checkers_alone_are_no_obstacle() -> None:
    def made(problem: Unknown, rounds: int) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Take anything."""

    check(made, {"rounds": 4}, None)
    with pytest.raises(ConfigError, match="missing a required argument: 'rounds'"):
        check(made, {}, None)


class Sized(Protocol):
    """What tells its instances by nothing."""

    size: int


class Kind(Enum):
    """Something to choose from."""

    WIDE = "wide"


def test_what_a_configuration_can_only_spell_is_left_to_the_class() -> None:
    def made(
        problem: object, widths: tuple[int, ...], path: Path = Path(), kind: Kind = Kind.WIDE, share: Annotated[float, "0 to 1"] = 0.5
    ) -> None:
        """Take anything."""

    check(made, {"widths": [1, 2], "path": "here", "kind": "wide", "share": 1}, None)
    with pytest.raises(ConfigError, match=r"`searcher.widths` must be a tuple, but is 3"):
        check(made, {"widths": 3}, None)
    with pytest.raises(ConfigError, match=r"`searcher.path` must be a Path, but is 3"):
        check(made, {"widths": [], "path": 3}, None)


def test_what_is_annotated_by_no_type_is_left_to_the_class() -> None:
    def made(problem: object, rule: Literal["all", 3], rows: Sized, names: Any = None, more=0) -> None:  # type: ignore[no-untyped-def]
        """Take anything."""

    check(made, {"rule": 3, "rows": 3, "names": {"a": "b"}, "more": [1]}, None)
