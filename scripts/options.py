"""Settings on the command line: dotted options by tyro, auxiliary tasks in one word each."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jepa_rl.agent import AuxiliaryConfig
from jepa_rl.agent.config import from_dict

Settings = TypeVar("Settings")

_FORM = "TARGET[:OPTION=VALUE,...]"
_registry = ConstructorRegistry()


def parse_options(
    kind: type[Settings], arguments: Sequence[str], *, default: Settings, prog: str | None = None
) -> Settings:
    """``default`` with command-line options applied."""
    return tyro.cli(kind, args=arguments, default=default, prog=prog, registry=_registry)


def run_named_first(arguments: Sequence[str], command: str) -> Path | None:
    """The run that a command line begins with; None where it only asks for help. ValueError where options come first."""
    if arguments and not arguments[0].startswith("-"):
        return Path(arguments[0])
    if arguments and not {"-h", "--help"} & set(arguments):
        raise ValueError(f"the run comes first: jepa-rl {command} RUN [OPTIONS]")
    return None


def split_agent_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--agent.NAME VALUES`` out of a command line; the second list has them as ``--NAME VALUES``."""
    rest: list[str] = []
    options: list[str] = []
    now = rest
    for argument in arguments:
        if argument.startswith("--"):
            now = options if argument.startswith("--agent.") else rest
        now.append("--" + argument.removeprefix("--agent.") if now is options and argument.startswith("--") else argument)
    return rest, options


def split_env_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Take ``--env.NAME VALUE`` out of a command line; values are Python literals, or text where they are none.

    Raises ValueError for what config.json could not give back: the run would be resumed and evaluated on another
    environment than the one that it was trained on. Tuples become lists, as they do there.
    """
    rest: list[str] = []
    env_kwargs: dict[str, Any] = {}
    pending = iter(arguments)
    for argument in pending:
        if not argument.startswith("--env."):
            rest.append(argument)
            continue
        name, given, text = argument.removeprefix("--env.").partition("=")
        if not given:
            try:
                text = next(pending)
            except StopIteration:
                raise ValueError(f"{argument} needs a value") from None
        value = literal(text)
        if not _can_be_kept(value):
            raise ValueError(
                f"--env.{name} must be made of numbers, texts, booleans, None, lists and dictionaries with texts as keys, "
                f"got {text}"
            )
        env_kwargs[name.replace("-", "_")] = json.loads(json.dumps(value))
    return rest, env_kwargs


def env_options(env: Mapping[str, Any]) -> list[str]:
    """The inverse of ``split_env_options``: the words that stand for keyword arguments of an environment."""
    return [word for name, value in env.items() for word in (f"--env.{name}", _env_word(value))]


def _env_word(value: Any) -> str:
    return value if isinstance(value, str) and literal(value) == value else repr(value)


def _can_be_kept(value: Any) -> bool:
    """Whether JSON gives it back, but for tuples."""
    if isinstance(value, list | tuple):
        return all(map(_can_be_kept, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _can_be_kept(each) for key, each in value.items())
    return isinstance(value, str | int | float | None)


def parse_auxiliary(text: str) -> AuxiliaryConfig:
    """The task that ``TARGET`` or ``TARGET:OPTION=VALUE,OPTION=VALUE`` stands for, as in ``info:count:weight=0.5``.

    Raises ValueError for an unknown target or option, and for a value that the option cannot have.
    """
    target, colon, options = text.rpartition(":")
    if not colon or "=" not in options:
        return AuxiliaryConfig(target=text)
    chosen: dict[str, Any] = {}
    for option in options.split(","):
        name, given, value = option.partition("=")
        if not given:
            raise ValueError(f"an auxiliary task must be {_FORM}, got {text!r}")
        chosen[name.replace("-", "_")] = literal(value)
    return from_dict(AuxiliaryConfig, {"target": target, **chosen}, f"{target}:")


def format_auxiliary(task: AuxiliaryConfig) -> str:
    """The inverse of ``parse_auxiliary``: what differs from the defaults is written out."""
    chosen = [
        f"{entry.name}={getattr(task, entry.name)}"
        for entry in dataclasses.fields(AuxiliaryConfig)
        if entry.name != "target" and getattr(task, entry.name) != entry.default
    ]
    return f"{task.target}:{','.join(chosen)}" if chosen else task.target


def literal(text: str) -> Any:
    """A Python literal, true or false, or the text itself where it is none of these."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@_registry.primitive_rule
def _auxiliary_tasks(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[AuxiliaryConfig, ...]] | None:
    if info.type != tuple[AuxiliaryConfig, ...]:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=f"[{_FORM} ...]",
        instance_from_str=lambda texts: tuple(map(parse_auxiliary, texts)),
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(task, AuxiliaryConfig) for task in value),
        str_from_instance=lambda tasks: list(map(format_auxiliary, tasks)),
    )
