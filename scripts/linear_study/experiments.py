"""The experiments on deep linear JEPA and MAE, cut into jobs that each give a piece of one raw table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from jepa_rl.scripts.linear_study.settings import (
    COVARYING,
    DESCENT_DEPTH,
    DESCENT_SCALE,
    FRACTION,
    INFLUENTIAL,
    PANELS,
    PROCESSES,
    Study,
)
from jepa_rl.scripts.linear_study.tables import Table, joined, table
from jepa_rl.world_model.linear import (
    OBJECTIVES,
    Features,
    Objective,
    crossover_scale,
    fixed_point,
    hitting_time,
    leading_time,
    learning_curves,
    simulate,
)
from jepa_rl.world_model.linear_flow import (
    Network,
    aligned_network,
    crossing_times,
    descend,
    gradient_flow,
)


def jobs(study: Study) -> list[Callable[[], dict[str, Table]]]:
    """Everything there is to compute; each job gives pieces of raw tables by name."""
    work: list[Callable[[], dict[str, Table]]] = [example, influence_gap, partial(boundary, study)]
    for objective in OBJECTIVES:
        work += [partial(panel_curves, study, objective, panel) for panel in PANELS]
        work += [partial(times_of, study, objective), partial(order_map, study, objective)]
        work += [partial(flow_against_ode, objective, depth) for depth in study.flow_depths]
        for depth in study.angle_depths:
            work += [partial(unaligned, study, objective, depth, angle) for angle in study.angles]
        for process in PROCESSES:
            work += [partial(descent, study, objective, process, batch) for batch in study.descent_batches]
    return work


def example() -> dict[str, Table]:
    """Both objectives' hitting time of one feature, three ways."""
    features = Features.of(covariance=1, influence=0.7, depth=2, scale=1e-4)
    parts = [_three_times(objective, features) for objective in OBJECTIVES]
    return {"example": joined(parts)}


def influence_gap() -> dict[str, Table]:
    """How much later a feature of influence 0.4 is learned than one of 1, at lambda = 1 and depth 2, and JEPA's formula."""
    low, high, depth = 0.4, 1.0, 2
    scale = np.geomspace(1e-8, 1e-2, 7)
    pair = Features.of(covariance=1, influence=np.array([low, high])[:, None], depth=depth, scale=scale)
    gaps = {objective: -np.diff(simulate(objective, pair, FRACTION)[0][..., -1], axis=0)[0] for objective in OBJECTIVES}
    power = (2 * depth - 2) / depth
    formula = depth / (2 * depth - 2) * (1 / low - 1 / high) * scale**-power
    return {"gap": table(depth=depth, scale=scale, jepa=gaps["jepa"], jepa_formula=formula, mae=gaps["mae"])}


def panel_curves(study: Study, objective: Objective, panel: str) -> dict[str, Table]:
    """Weights over time of one panel of Figure 2, as shares of the fixed points; by the ODE."""
    covariance, influence = PANELS[panel]
    depth, scale = study.panel_depth, study.panel_scale
    features = Features.of(covariance=covariance, influence=influence, depth=depth, scale=scale)
    times, weights = simulate(objective, features, fraction=0.99, points=60)
    share = weights / fixed_point(objective, features)[:, None]
    learned = hitting_time(objective, features, FRACTION)
    return {
        "curves": table(
            objective=objective,
            panel=panel,
            covariance=covariance[:, None],
            influence=influence[:, None],
            learned=learned[:, None],
            time=times,
            share=share,
        )
    }


def times_of(study: Study, objective: Objective) -> dict[str, Table]:
    """Hitting times by the ODE, in closed form and by the paper's formula, wherever a weight starts below its target."""
    depths = [depth for depth in study.time_depths if objective == "jepa" or depth > 1]
    grid = Features.of(
        covariance=np.array([0.5, 1.0])[:, None, None, None],
        influence=np.array([0.4, 0.7, 1.0])[:, None, None],
        depth=np.array(depths)[:, None],
        scale=np.geomspace(1e-8, 1e-1, study.time_scales),
    )
    features = _below(objective, grid, 0.99)
    return {"times": _three_times(objective, features)}


def flow_against_ode(objective: Objective, depth: int) -> dict[str, Table]:
    """The matrix flow of three features against three ODEs: largest error of any entry of W, and hitting times."""
    covariance, influence, scale = np.array([1, 0.8, 0.6]), np.array([0.5, 0.9, 0.7]), 1e-2
    features = Features.of(covariance=covariance, influence=influence, depth=depth, scale=scale)
    exact = hitting_time(objective, features, FRACTION)
    times = np.linspace(0, 1.5 * exact.max(), 1_500)
    start = aligned_network(objective, 3, depth, scale, np.random.default_rng(depth))
    path = gradient_flow(objective, start, np.diag(covariance / influence), np.diag(covariance), times / depth)
    curves = learning_curves(objective, features, times).T
    rotation = start.encoder / scale
    return {
        "flow": table(
            objective=objective,
            depth=depth,
            scale=scale,
            covariance=covariance,
            influence=influence,
            largest_error=np.abs(path.encoder - rotation * curves[:, None]).max((0, 1)),
            measured=crossing_times(times, path.weights, FRACTION * fixed_point(objective, features)),
            exact=exact,
        )
    }


def order_map(study: Study, objective: Objective) -> dict[str, Table]:
    """When each of the two conflicting features is learned, over depths and scales; by the ODE, NaN beyond the target."""
    pair = _pair(np.array(study.map_depths)[:, None, None], np.geomspace(1e-9, 1e-1, study.map_scales)[:, None])
    times = np.full(pair.scale.shape, np.nan)
    possible = pair.scale < 0.99 * FRACTION * fixed_point(objective, pair)
    times[possible] = simulate(objective, _below(objective, pair, 0.99), FRACTION)[0][..., -1]
    return {
        "order": table(
            objective=objective,
            depth=pair.depth[..., 0],
            scale=pair.scale[..., 0],
            covarying=times[..., 0],
            influential=times[..., 1],
        )
    }


def boundary(study: Study) -> dict[str, Table]:
    """Scales between which JEPA learns the influential feature first: by the paper's formula, and exactly."""
    depths = [depth for depth in study.map_depths if depth > 1]
    lowest, highest = [], []
    for depth in depths:
        largest = FRACTION * COVARYING[1] ** depth  # where the covarying feature starts as learned
        scales = np.geomspace(1e-10, 0.999 * largest, 20_001)
        times = hitting_time("jepa", _pair(depth, scales[:, None]), FRACTION)
        influential_first = scales[times[:, 1] < times[:, 0]]
        lowest.append(influential_first.min(initial=np.inf))
        highest.append(influential_first.max(initial=-np.inf))
    return {
        "boundary": table(
            depth=depths,
            leading=[crossover_scale(COVARYING, INFLUENTIAL, depth) for depth in depths],
            lowest=lowest,
            highest=highest,
            starts_learned=FRACTION * COVARYING[1] ** np.array(depths, dtype=float),
        )
    }


def descent(study: Study, objective: Objective, process: str, batch: int) -> dict[str, Table]:
    """Minibatch gradient descent on sampled data beside the flow, over 1.5 times the time that the flow needs."""
    data = PROCESSES[process]
    features = Features.of(covariance=data.covariance, influence=data.influence, depth=DESCENT_DEPTH, scale=DESCENT_SCALE)
    exact = hitting_time(objective, features, FRACTION)
    steps = study.descent_steps // (1 if objective == "jepa" else 10)
    rate = 1.5 * exact.max() / DESCENT_DEPTH / steps
    generator = np.random.default_rng([batch, *process.encode(), *objective.encode()])
    starts = [aligned_network(objective, 2, DESCENT_DEPTH, DESCENT_SCALE, generator) for _ in range(study.descent_copies)]
    start = Network(
        factors=np.stack([one.factors for one in starts]), predictor=np.stack([one.predictor for one in starts])
    )
    every = steps // 150
    batches = data.batches(study.descent_copies, batch, generator)
    path = descend(objective, start, batches, rate=rate, steps=steps, every=every)
    times = DESCENT_DEPTH * rate * every * np.arange(len(path.predictor))
    final = fixed_point(objective, features)
    shares = path.weights / final
    which = {"objective": objective, "process": process, "batch": batch, "rate": rate, "influence": data.influence}
    learned = crossing_times(times, shares, np.full(2, FRACTION))
    return {
        "descent": table(**which, copy=np.arange(study.descent_copies)[:, None], learned=learned, flow=exact),
        "descent_curves": table(
            **which,
            time=times[:, None],
            mean=shares.mean(1),
            lowest=shares.min(1),
            highest=shares.max(1),
            flow=learning_curves(objective, features, times).T / final,
        ),
    }


def unaligned(study: Study, objective: Objective, depth: int, angle: float) -> dict[str, Table]:
    """The flow of the two conflicting features with the aligned predictor turned by an angle in degrees."""
    scale = 1e-2
    features = _pair(depth, scale)
    covariance, influence = features.covariance, features.influence
    aligned = hitting_time(objective, features, FRACTION)
    start = aligned_network(objective, 2, depth, scale, np.random.default_rng(0))
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    start = replace(start, predictor=np.array([[cosine, -sine], [sine, cosine]]) @ start.predictor)
    moments = np.diag(covariance / influence), np.diag(covariance)
    for horizon in study.horizons:
        times = np.linspace(0, horizon * aligned.max(), 4_000)
        path = gradient_flow(objective, start, *moments, times / depth, tolerance=1e-9)
        learned = crossing_times(times, path.weights, FRACTION * fixed_point(objective, features))
        if np.isfinite(learned).all():
            break
    encoding = path.encoder / np.linalg.norm(path.encoder, axis=-2, keepdims=True)
    return {
        "unaligned": table(
            objective=objective,
            depth=depth,
            angle=angle,
            covariance=covariance,
            influence=influence,
            aligned=aligned,
            learned=learned,
            largest_cosine=np.abs((encoding[..., 0] * encoding[..., 1]).sum(-1)).max(),
            last_share=path.weights[-1] / fixed_point(objective, features),
        )
    }


def _three_times(objective: Objective, features: Features) -> Table:
    return table(
        objective=objective,
        covariance=features.covariance,
        influence=features.influence,
        depth=features.depth,
        scale=features.scale,
        smallness=features.scale / (FRACTION * features.influence**features.depth),
        measured=simulate(objective, features, FRACTION)[0][..., -1],
        exact=hitting_time(objective, features, FRACTION),
        leading=leading_time(objective, features),
    )


def _pair(depth: np.ndarray | int, scale: np.ndarray | float) -> Features:
    """The two conflicting features, along a last axis."""
    covariance, influence = np.array([COVARYING, INFLUENTIAL]).T
    return Features.of(covariance=covariance, influence=influence, depth=depth, scale=scale)


def _below(objective: Objective, features: Features, share: float) -> Features:
    """Those that start below a share of their target, in one row."""
    kept = features.scale < share * FRACTION * fixed_point(objective, features)
    return Features(
        covariance=features.covariance[kept],
        influence=features.influence[kept],
        depth=features.depth[kept],
        scale=features.scale[kept],
    )
