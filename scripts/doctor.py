"""``jepa-rl doctor``: check an environment before training, and suggest what to begin with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import gymnasium as gym
import tyro

from jepa_rl.agent import PRESETS
from jepa_rl.agent.env_faults import CheckedReturns
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.envs import make_env
from jepa_rl.scripts import env_checks
from jepa_rl.scripts.env_checks import Finding, NoStepError, Patient
from jepa_rl.scripts.env_rollout import Read, describe, record
from jepa_rl.scripts.options import env_options, split_env_options
from jepa_rl.world_model.encoder_config import EncoderKind

Check = Callable[[Patient], Finding]
CHECKS: dict[str, Check] = {
    "api": env_checks.api,
    "spaces": env_checks.spaces,
    "steps": env_checks.stepping,
    "numbers": env_checks.numbers,
    "determinism": env_checks.determinism,
    "render": env_checks.rendering,
    "reward": env_checks.reward,
    "ends": env_checks.ends,
    "success": env_checks.success,
    "speed": env_checks.speed,
    "preset": env_checks.preset,
}


class DoctorError(RuntimeError):
    """Checks failed; all of them have been reported."""


@dataclass(frozen=True, kw_only=True)
class DoctorArgs:
    """Check an environment under random actions: its API, spaces, numbers, determinism, rendering, reward, ends and speed.

    Every check says ok, warn or fail; the last line is the command to begin with. Keyword arguments of the environment are
    --env.NAME VALUE, as in --env.target 2.

    Example: jepa-rl doctor CartPole-v1
    """

    env_id: tyro.conf.Positional[str]
    """A registered Gymnasium environment, also as module:id."""
    steps: int = 2_000
    """Random steps to take."""
    seed: int = 0
    """Decides the actions and the episodes."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run the command; DoctorError if a check fails."""
    rest, env_kwargs = split_env_options(arguments)
    args = tyro.cli(DoctorArgs, prog="jepa-rl doctor", args=rest)
    findings = examine(args.env_id, env_kwargs, steps=args.steps, seed=args.seed)
    if args.json:
        rows = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"env_id": args.env_id, "findings": rows}, indent=2))
    else:
        for finding in findings:
            advice = f" -> {finding.advice}" if finding.advice else ""
            print(f"{finding.status:<4}  {finding.name:<11}  {finding.found}{advice}")
    failed = [finding.name for finding in findings if finding.status == "fail"]
    if failed:
        raise DoctorError(f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")


def examine(env_id: str, env_kwargs: dict[str, Any], *, steps: int, seed: int) -> list[Finding]:
    """All findings about an environment, in the order of CHECKS, and the suggestion that follows from them.

    Raises ValueError or what ``make_env`` raises where the environment cannot be made; an error of a check becomes its
    finding.
    """
    if steps < 1:
        raise ValueError(f"--steps must be at least 1, got {steps}")
    if seed < 0:
        raise ValueError(f"--seed must be at least 0, got {seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gymnasium's warnings belong to the check of the API, which collects them
        patient = _observed(env_id, env_kwargs, steps, seed)
        findings = [guarded(name, check, patient) for name, check in CHECKS.items()]
    return [*findings, suggestion(patient, findings)]


def _observed(env_id: str, env_kwargs: dict[str, Any], steps: int, seed: int) -> Patient:
    """The environment under random actions."""
    env = make_env(env_id, env_kwargs)
    rollout = record(CheckedReturns(env), steps, seed, read=_reader(env.observation_space))
    with contextlib.suppress(Exception, SystemExit):  # the check of the API closes one too, and says so
        env.close()
    return Patient(
        env_id=env_id,
        env_kwargs=env_kwargs,
        observations=env.observation_space,
        actions=env.action_space,
        steps=steps,
        seed=seed,
        rollout=rollout,
    )


def _reader(space: gym.Space[Any]) -> Read:
    """Observations as an agent reads them; whatever they are where it cannot, which is a finding of its own."""
    for kind in get_args(EncoderKind):
        with contextlib.suppress(ValueError):
            return ObservationAdapter(space, kind).pack
    return lambda observation: None


def guarded(name: str, check: Check, patient: Patient) -> Finding:
    """The finding of ``check``, also where the environment raises."""
    try:
        return check(patient)
    except NoStepError as error:
        return Finding(name=name, status="warn", found=f"not checked: {error}", advice="mend the steps first")
    except (Exception, SystemExit) as error:  # whatever an environment raises is a finding
        return Finding(name=name, status="fail", found=describe(error), advice="mend what raises it")


def suggestion(patient: Patient, findings: Sequence[Finding]) -> Finding:
    """The command line to begin with."""
    chosen, _ = patient.preset
    command = ["jepa-rl", "train", chosen]
    if patient.env_id != PRESETS[chosen].env_id:
        command += ["--env-id", patient.env_id]
    command += env_options(patient.env_kwargs)
    if chosen == "default":  # the others are tuned to what they are for
        command += [option for finding in findings for option in finding.options]
    failed = [finding.name for finding in findings if finding.status == "fail"]
    advice = f"first mend what fails: {', '.join(failed)}" if failed else ""
    return Finding(name="suggestion", status="warn" if failed else "ok", found=shlex.join(command), advice=advice)
