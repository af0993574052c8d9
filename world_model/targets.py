"""Which auxiliary tasks can be asked for by name: those computed from a batch, and those read from the environment."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

Likelihood = Literal["gaussian", "bernoulli", "signed_bernoulli", "two_hot"]
BOUNDS: Mapping[str, tuple[float, float]] = {"bernoulli": (0.0, 1.0), "signed_bernoulli": (-1.0, 1.0)}
"""Least and greatest target of the likelihoods that cannot express every number."""

TargetFunction = Callable[[Any, Mapping[str, Any]], Any]
"""Maps an observation, as the environment gave it, and the info that came with it to a number, or to ``size`` of them."""

NUMBER_TARGETS = ("constant", "shuffled_reward", "noise")
FUNCTION_TARGETS = ("random_linear", "random_network", "next_features")
BATCH_TARGETS = (*NUMBER_TARGETS, *FUNCTION_TARGETS, "inverse", "reconstruction")
INFO = "info:"
_TAKEN = {
    # Terms of the objective.
    *("dynamics", "masked", "reward", "value", "policy", "termination", "variance", "covariance", "sigreg"),
    *("encoder", "loss_weights", "total"),  # what logs say besides
    *dir(nn.ModuleDict()),  # what a torch module, which holds the heads by name, has of its own
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentTarget:
    """What a task that is read from the environment wants to know of an observation."""

    function: TargetFunction
    size: int = 1  # numbers that the function gives
    likelihood: Likelihood = "two_hot"  # unless the task's configuration chooses one


_registered: dict[str, EnvironmentTarget] = {}


def register_auxiliary(name: str, function: TargetFunction, *, size: int = 1, likelihood: Likelihood = "two_hot") -> None:
    """Make ``AuxiliaryConfig(target=name)`` a task whose target is ``function(observation, info)`` of each observation.

    ``info`` is that of the reset or step which led to the observation. The function is called once per labelled
    observation while collecting, in the main process. A saved agent holds the name only, so register before loading it.

    Args:
        name: letters, digits and underscores; a function registered under it before is replaced.
        function: gives a finite number, or ``size`` of them.
        size: numbers per observation.
        likelihood: of the loss, unless the configuration chooses one. two_hot takes any range, but variation below about
            0.2 symlog units, its bins, hardly counts: centre and scale targets that vary less. bernoulli needs numbers in
            [0, 1].

    Raises ValueError for a name, size or likelihood that cannot be, TypeError for what cannot be called.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in _TAKEN or name in BATCH_TARGETS:
        raise ValueError(
            f"an auxiliary task's name must be letters, digits and underscores and not taken already, got {name!r}"
        )
    if not callable(function):
        raise TypeError(f"the function of auxiliary task {name!r} must be callable, got {function!r}")
    if size < 1:
        raise ValueError(f"the size of auxiliary task {name!r} must be at least 1, got {size}")
    if likelihood not in get_args(Likelihood):
        choices = ", ".join(get_args(Likelihood))
        raise ValueError(f"the likelihood of auxiliary task {name!r} must be one of {choices}, got {likelihood!r}")
    _registered[name] = EnvironmentTarget(function=function, size=size, likelihood=likelihood)


def environment_target(name: str) -> EnvironmentTarget | None:
    """The target of this name that is read from the environment; None for one that is computed from the batch."""
    if name.startswith(INFO):
        return EnvironmentTarget(function=functools.partial(_of_info, name.removeprefix(INFO)))
    return _registered.get(name)


def require_target(name: str) -> None:
    """ValueError, with the nearest names, for a target that there is not."""
    if name.startswith(INFO):
        if not re.fullmatch(r"[^.:=,\s]+", name.removeprefix(INFO)):
            raise ValueError(f"an auxiliary task {INFO}KEY needs a KEY without space and without any of .:=, got {name!r}")
    elif name not in BATCH_TARGETS and name not in _registered:
        known = [*BATCH_TARGETS, *_registered]
        near = difflib.get_close_matches(name, known) or [*known, f"{INFO}KEY"]
        raise ValueError(
            f"unknown auxiliary task {name!r}; did you mean {' or '.join(near)}? "
            "One of your own is made known by register_auxiliary, also before loading an agent that has it"
        )


def _of_info(key: str, observation: Any, info: Mapping[str, Any]) -> Any:
    return info[key]
