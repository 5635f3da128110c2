"""Each rule of the client that `make model` breaks is still in its sources."""

from __future__ import annotations

import pytest

from tests.model import mutants
from tests.model.sources import file_of

RULES = mutants.CLIENT | mutants.CLIENT_BY_EXAMPLE


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_client_can_be_broken(rule: str) -> None:
    right, wrong = RULES[rule]
    assert right != wrong
    assert file_of(right)
