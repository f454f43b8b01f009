from collections.abc import Callable
from functools import cache

import pytest

from medsynth.models.checkpoint import load_model
from tests.contracts.examples import CPU, EXAMPLES, Trained, toy_store


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Callable[[str, str, int], Trained]:
    """Train a family on a toy store, once, after the parents that it needs."""

    @cache
    def of(family: str, kind: str, dims: int) -> Trained:
        roles = EXAMPLES[family].settings.get("parents", {})
        parents = {role: of(parent, kind, dims).weights for role, parent in roles.items()}
        folder = tmp_path_factory.mktemp(f"{family}_{kind}_{dims}d")
        return Trained(family, toy_store(kind, dims, EXAMPLES[family].side), folder, parents)

    return of


@pytest.fixture(scope="module")
def model(run):
    """The trained model of a module's `run`, as it is loaded."""
    return load_model(run.weights, CPU)[0]
