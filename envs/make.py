"""Build an environment from its id, with errors that say what would have worked."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec, load_env_creator

from jepa_rl.envs.distractors import distracted, is_distraction
from jepa_rl.envs.history import History

MINIGRID_PREFIXES = ("MiniGrid-", "BabyAI-")
EXTRAS = ("box2d", "mujoco")  # of this package, by gymnasium's names for the families that need them


def make_env(env_id: str, kwargs: dict[str, Any] | None = None, render_mode: str | None = None) -> gym.Env[Any, Any]:
    """Build the environment ``env_id`` (also as "module:id"), passing ``kwargs`` to its constructor.

    MiniGrid and BabyAI ids get ``SymbolicView``, or ``PixelView`` with the keyword ``pixels=True``. Every environment also
    takes ``distractor``, ``bit`` and what belongs to them, for the wrappers in distractors.py, and ``history``, the number
    of last observations that are shown as one (history.py).

    Raises ValueError for an unknown id (naming near ones), and for a keyword that the constructor does not take (naming
    those that it takes); gymnasium.error.DependencyNotInstalled where the package behind it is missing, with what to
    install; ValueError, too, from what the constructor itself raises, unless a caller expects that kind: a ValueError,
    TypeError, OSError, ImportError or gymnasium error passes through.
    """
    kwargs = dict(kwargs or {})
    spec = _spec(env_id)
    is_minigrid = spec.id.startswith(MINIGRID_PREFIXES)
    with _naming_what_to_install(spec):
        taken = _taken_keywords(spec)
    pixels = is_minigrid and kwargs.pop("pixels", False)
    history = kwargs.pop("history", 1) if "history" not in (taken or ()) else 1
    wrapping = {name: kwargs.pop(name) for name in list(kwargs) if is_distraction(name) and name not in (taken or ())}
    _check_keywords(spec, kwargs, taken)
    if render_mode is not None:  # not every constructor takes one
        kwargs["render_mode"] = render_mode
    try:
        with _naming_what_to_install(spec):
            env: gym.Env[Any, Any] = gym.make(spec, **kwargs)
    except TypeError as error:
        # A class may fix an argument of its base class, which no signature shows.
        if "multiple values for keyword argument" not in str(error):
            raise
        raise ValueError(f"{env_id!r} sets one of {', '.join(kwargs)} itself: {error}") from error
    except (ValueError, OSError, ImportError, gym.error.Error):
        raise
    except (Exception, SystemExit) as error:  # a constructor may call sys.exit
        raise ValueError(f"{env_id!r} cannot be made: {type(error).__name__}: {error}") from error
    if is_minigrid:
        from jepa_rl.envs.minigrid import PixelView, SymbolicView  # imports pygame, which other environments do not need

        env = PixelView(env) if pixels else SymbolicView(env)
    env = distracted(env, wrapping)
    return env if history == 1 else History(env, history)


def import_module_of(env_id: str) -> None:
    """Import the module of "module:id", which may register more than the environment; ValueError where there is none."""
    module = env_id.rpartition(":")[0]
    if module:
        _import(module, env_id)


def _spec(env_id: str) -> EnvSpec:
    import_module_of(env_id)
    name = env_id.rpartition(":")[2]
    if name == env_id and name.startswith(MINIGRID_PREFIXES):
        importlib.import_module("minigrid")
    if name not in gym.registry:
        importlib.import_module("minigrid")  # so that its ids are among the near ones
        known = {registered.lower(): registered for registered in gym.registry}
        near = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=5)]
        raise ValueError(f"unknown environment {env_id!r}; {'near ones: ' + ', '.join(near) if near else 'none is near'}")
    return gym.registry[name]


def _import(module: str, env_id: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # what the module itself imports
        raise ValueError(
            f"the module {module!r} of {env_id!r} is not found; run in the folder that holds it, or install it"
        ) from error


@contextlib.contextmanager
def _naming_what_to_install(spec: EnvSpec) -> Iterator[None]:
    """Gymnasium raises where the package behind a family is missing, of Box2D on import and of MuJoCo on construction."""
    try:
        yield
    except (gym.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        family = next((name for name in EXTRAS if str(spec.entry_point).startswith(f"gymnasium.envs.{name}.")), None)
        if family is None:
            raise
        message = f"{spec.id!r} needs a package that is not installed: pip install 'jepa-rl[{family}]'"
        raise gym.error.DependencyNotInstalled(message) from error


def _taken_keywords(spec: EnvSpec) -> set[str] | None:
    """Names of the keywords that the environment's constructor takes; None if it takes any."""
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    if creator is None:
        raise ValueError(f"{spec.id!r} is registered without an entry point")
    return _keywords(creator)


def _check_keywords(spec: EnvSpec, kwargs: dict[str, Any], taken: set[str] | None) -> None:
    unknown = [] if taken is None else [name for name in kwargs if name not in taken]
    if taken is not None and unknown:
        raise ValueError(f"{spec.id!r} does not take {', '.join(unknown)}; it takes {', '.join(sorted(taken)) or 'none'}")


def _keywords(creator: Callable[..., Any]) -> set[str] | None:
    """Names of the keywords that ``creator`` takes; None if it takes any. ``render_mode`` is make_env's own."""
    constructors: list[Callable[..., Any]] = [creator]
    if inspect.isclass(creator):
        # A constructor with **kwargs hands the rest to the next class, so the list goes on there.
        constructors = [vars(cls)["__init__"] for cls in inspect.getmro(creator) if "__init__" in vars(cls)]
    names: set[str] = set()
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names - {"self", "render_mode"}
    return None
