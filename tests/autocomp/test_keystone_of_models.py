"""The keystone on networks of autocomp.models that bring structure of their own; see `compression.test_keystone`."""

from __future__ import annotations

import pytest

from .compression import test_keystone as keystone
from .models.small import SMALL, small

NAMES = ("alexnet", "densenet100_bc", "googlenet", "mobilenet_v2", "resnext29", "se_resnet20", "shufflenet", "squeezenet")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_built_of_a_network_is_what_the_methods_say_on_paper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(keystone.MODELS, name, (lambda: small(name), SMALL[name][0]))
    assert keystone.check(name, ("FilterPruning",), 3).knobs, "there was nothing to prune, so nothing was tested"
    keystone.check(name, keystone.METHODS, 3)
