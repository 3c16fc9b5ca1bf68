"""What in an environment is likely to spoil learning: a table of rules over rows of random actions."""

from typing import Any, NamedTuple

import numpy as np

from goalward import contract
from goalward.diagnosis import elements, goals, growth, running, sight
from goalward.diagnosis.recording import MOST_ELEMENTS, record
from goalward.envs import core, shapes
from goalward.findings import NOTE, PROBLEM, WARNING, Finding

OF_ALL = (*goals.RULES, *running.RULES)
RULES = (*elements.RULES, *growth.RULES, *sight.RULES, *OF_ALL)  # the first three look at each element
ORDER = (PROBLEM, WARNING, NOTE)
# Steps in each world: an episode and a few steps; some hundreds where it is short, not all where it is long.
LEAST_STEPS, MOST_STEPS = 512, 2048
# Worlds: 10,000 steps and more in either case, which an engine takes seconds for.
WORLDS, ENGINE_WORLDS = 32, 12


class Diagnosis(NamedTuple):
    """What was found in an environment, the gravest first, and what random actions achieve."""

    findings: list[Finding]
    measured: contract.Findings


def diagnose(env: core.Env, *, worlds: int | None = None, steps: int | None = None, seed: int = 0) -> Diagnosis:
    """Look for broken promises, and for what is likely to spoil learning.

    `steps` in each world, by default an episode and some more. Raises `UserError` for numbers out of range.
    """
    if worlds is None:
        worlds = ENGINE_WORLDS if env.engine else WORLDS
    if steps is None:
        steps = min(max(env.spec.episode_length + 3, LEAST_STEPS), MOST_STEPS)
    examined = contract.examine(env, worlds=worlds, steps=steps, seed=seed)
    found = list(examined.findings.broken)
    if examined.held is not None:
        try:
            seen = shapes.call("a step of all worlds", record, shapes.guarded(env), examined, seed)
            rules = RULES if env.spec.obs_dim <= MOST_ELEMENTS else OF_ALL
            found += [finding for rule in rules for finding in rule(seen)]
        except shapes.BrokenError as error:
            found.append(error.finding)
    return Diagnosis(sorted(found, key=lambda finding: ORDER.index(finding.severity)), examined.findings)


def is_broken(diagnosis: Diagnosis) -> bool:
    """Whether a promise is broken."""
    return any(finding.severity == PROBLEM for finding in diagnosis.findings)


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as plain data; None for what could not be measured."""
    measured = diagnosis.measured._asdict()
    numbers = {name: None if np.isnan(value) else value for name, value in measured.items() if name != "broken"}
    return {**numbers, "findings": [finding._asdict() for finding in diagnosis.findings]}
