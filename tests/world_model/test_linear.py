"""Deep linear JEPA and MAE: the matrix flow obeys the ODEs, the ODEs the formulas, and the formulas say where they hold."""

import numpy as np
import pytest

from jepa_rl.world_model.linear import (
    OBJECTIVES,
    Features,
    critical_time,
    crossover_scale,
    fixed_point,
    hitting_time,
    leading_time,
    learning_curves,
    simulate,
)
from jepa_rl.world_model.linear_flow import (
    LinearProcess,
    Network,
    aligned_network,
    crossing_times,
    descend,
    gradient,
    gradient_flow,
)

COVARIANCE, INFLUENCE = np.array([1, 0.8, 0.6]), np.array([0.5, 0.9, 0.7])
MOMENTS = np.diag(COVARIANCE / INFLUENCE), np.diag(COVARIANCE)
KNOWN = Features.of(covariance=1, influence=0.7, depth=2, scale=1e-4)


def with_one_copy(network):
    return Network(factors=network.factors[None], predictor=network.predictor[None])


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_matrix_flow_from_an_aligned_start_is_one_ode_per_feature(objective, depth):
    features = Features.of(covariance=COVARIANCE, influence=INFLUENCE, depth=depth, scale=2e-2)
    start = aligned_network(objective, 3, depth, 2e-2, np.random.default_rng(7))
    times = np.linspace(0, 1.2 * hitting_time(objective, features, 0.9).max(), 50)
    path = gradient_flow(objective, start, *MOMENTS, times / depth)
    weights = learning_curves(objective, features, times).T
    assert weights[-1] == pytest.approx(fixed_point(objective, features), rel=0.1)
    assert np.abs(path.encoder - start.encoder / 2e-2 * weights[:, None]).max() <= 1e-9
    assert np.abs(path.weights - weights).max() <= 1e-9


@pytest.mark.parametrize(("objective", "exact", "formula"), [("jepa", 681371, 681361), ("mae", 197.48, 200)])
def test_known_hitting_time_and_the_papers_formula_for_it(objective, exact, formula):
    assert hitting_time(objective, KNOWN, 0.5) == pytest.approx(exact, rel=2e-6 if objective == "jepa" else 1e-4)
    assert critical_time(objective, KNOWN, 0.5) == pytest.approx(formula, rel=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("fraction", [0.2, 0.9])
def test_closed_form_agrees_with_the_integrated_ode_for_all_depths_and_scales_at_once(objective, fraction):
    features = Features.of(
        covariance=np.array([0.5, 2.0])[:, None, None],
        influence=np.array([0.5, 1.2])[:, None, None],
        depth=np.array([1, 2, 5])[:, None],
        scale=np.array([1e-6, 1e-3]),
    )
    times, weights = simulate(objective, features, fraction, points=3)
    assert times.shape == weights.shape == (2, 3, 2, 3)
    assert times[..., -1] == pytest.approx(hitting_time(objective, features, fraction), rel=1e-8)
    assert weights[..., -1] == pytest.approx(fraction * fixed_point(objective, features), rel=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_weight_integrated_forward_in_time_is_at_its_target_at_the_hitting_time(objective):
    features = Features.of(covariance=0.6, influence=[0.5, 0.9], depth=3, scale=1e-2)
    target = hitting_time(objective, features, 0.3)
    weights = learning_curves(objective, features, np.sort(np.append(target, 0)))
    late, early = np.argsort(target)[::-1]
    assert weights[late, 2] == pytest.approx(0.3 * fixed_point(objective, features)[late], rel=1e-7)
    assert weights[early, 1] == pytest.approx(0.3 * fixed_point(objective, features)[early], rel=1e-7)


@pytest.mark.parametrize(("objective", "smallness"), [("jepa", 1e-3), ("mae", 1e-4)])
def test_formulas_are_within_one_per_cent_in_their_domain(objective, smallness):
    depth = np.array([2, 3, 5, 8])[:, None, None]
    influence = np.array([0.3, 0.7, 1.0])[:, None]
    scale = np.array([0.99, 0.01]) * smallness * 0.5 * influence**depth
    features = Features.of(covariance=0.7, influence=influence, depth=depth, scale=scale)
    measured = simulate(objective, features, 0.5)[0][..., -1]
    assert critical_time(objective, features, 0.5) == pytest.approx(measured, rel=0.01)


def test_only_jepa_learns_the_larger_influence_first_by_the_predicted_gap():
    low, high = (Features.of(covariance=2, influence=rho, depth=3, scale=1e-9) for rho in (0.5, 0.8))
    predicted = 3 / (4 * 2) * (1 / 0.5 - 1 / 0.8) * 1e-9 ** (-4 / 3)
    assert hitting_time("jepa", low, 0.5) - hitting_time("jepa", high, 0.5) == pytest.approx(predicted, rel=0.02)
    assert -1 < hitting_time("mae", low, 0.5) - hitting_time("mae", high, 0.5) < 0


@pytest.mark.parametrize(
    ("depth", "scale", "influential_first"),
    [(2, 1e-2, True), (2, 1e-3, False), (3, 1e-3, True), (3, 1e-4, False), (5, 1e-4, True), (5, 1e-6, False)],
)
def test_jepa_follows_influence_above_the_crossover_and_mae_never(depth, scale, influential_first):
    covarying, influential = (
        Features.of(covariance=covariance, influence=influence, depth=depth, scale=scale)
        for covariance, influence in ((1, 0.4), (0.8, 1))
    )
    assert (hitting_time("jepa", influential, 0.5) < hitting_time("jepa", covarying, 0.5)) == influential_first
    assert (scale > crossover_scale((1, 0.4), (0.8, 1), depth)) == influential_first
    assert hitting_time("mae", covarying, 0.5) < hitting_time("mae", influential, 0.5)


def test_at_the_crossover_scale_the_two_critical_times_are_equal():
    first, second, depth = (1.0, 0.6), (0.9, 0.8), 4
    scale = crossover_scale(first, second, depth)
    pair = Features.of(covariance=[1.0, 0.9], influence=[0.6, 0.8], depth=depth, scale=scale)
    one, other = leading_time("jepa", pair)
    assert one == pytest.approx(other, rel=1e-9)


def test_there_is_no_crossover_without_a_conflict_or_at_depth_one():
    with pytest.raises(ValueError, match="crossover needs"):
        crossover_scale((1, 0.9), (0.8, 0.5), 3)
    with pytest.raises(ValueError, match="crossover needs"):
        crossover_scale((1, 0.4), (0.8, 1), 1)


def test_outside_of_its_domain_the_formula_refuses():
    near = Features.of(covariance=1, influence=0.7, depth=2, scale=[1e-5, 3e-4])
    with pytest.raises(ValueError, match=r"eps << p rho\^L only: .* at most .* 0\.000245, got 0\.0003"):
        critical_time("jepa", near, 0.5)
    with pytest.raises(ValueError, match="depth of at least 2"):
        critical_time("mae", Features.of(covariance=1, influence=0.7, depth=1, scale=1e-6), 0.5)
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        critical_time("jepa", KNOWN, 1.0)
    with pytest.raises(ValueError, match=r"scale must be below fraction x fixed point = 0\.245, got 0\.3"):
        hitting_time("jepa", Features.of(covariance=1, influence=0.7, depth=2, scale=0.3), 0.5)


@pytest.mark.parametrize("wrong", [{"covariance": 0}, {"influence": -1}, {"scale": np.nan}, {"depth": 1.5}])
def test_features_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Features.of(**{"covariance": 1, "influence": 0.5, "depth": 2, "scale": 1e-3, **wrong})


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_is_the_slope_of_the_loss_on_samples_with_jepas_target_held_still(objective):
    generator = np.random.default_rng(2)
    x, y = generator.standard_normal((2, 40, 2))
    network = Network(factors=generator.standard_normal((3, 2, 2)), predictor=generator.standard_normal((2, 2)))
    target = y @ network.encoder.T if objective == "jepa" else y

    def loss(candidate):
        return 0.5 * ((x @ (candidate.predictor @ candidate.encoder).T - target) ** 2).sum(-1).mean()

    slope = gradient(objective, network, x.T @ x / 40, y.T @ x / 40)
    step = 1e-6
    for layer in range(3):
        nudged = network.factors.copy()
        nudged[layer, 0, 1] += step
        change = loss(Network(factors=nudged, predictor=network.predictor)) - loss(network)
        assert change / step == pytest.approx(slope.factors[layer, 0, 1], rel=1e-3)
    nudged = network.predictor.copy()
    nudged[1, 0] += step
    change = loss(Network(factors=network.factors, predictor=nudged)) - loss(network)
    assert change / step == pytest.approx(slope.predictor[1, 0], rel=1e-3)


@pytest.mark.parametrize(("kind", "persistence"), [("static", 1.0), ("dynamic", 0.8)])
def test_processes_have_the_wanted_covariance_and_influence(kind, persistence):
    covariance, influence = np.array([1, 0.5]), np.array([0.4, 0.7])
    process = LinearProcess(kind=kind, covariance=covariance, influence=influence, persistence=persistence)
    batches = process.batches(2, 100_000, np.random.default_rng(1))
    for _ in range(3):
        x, y = next(batches)
    assert x.shape == (2, 100_000, 2)
    assert (x * y).mean(1) == pytest.approx(np.tile(covariance, (2, 1)), rel=0.03)
    assert (x * y).mean(1) / (x * x).mean(1) == pytest.approx(np.tile(influence, (2, 1)), rel=0.03)
    assert np.abs((x[..., 0] * y[..., 1]).mean(1)).max() < 0.02
    following, _ = next(batches)
    assert (following == y).all() == (kind == "dynamic")


def test_a_process_with_more_influence_than_its_persistence_is_refused():
    with pytest.raises(ValueError, match=r"influence must be at most the persistence 0\.8"):
        LinearProcess(kind="dynamic", covariance=np.ones(1), influence=np.array([0.9]), persistence=0.8)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_descent_on_large_minibatches_stays_by_the_flow(objective):
    process = LinearProcess(kind="static", covariance=np.array([1, 0.8]), influence=np.array([0.5, 0.9]))
    features = Features.of(covariance=process.covariance, influence=process.influence, depth=2, scale=5e-2)
    generator = np.random.default_rng(3)
    start = with_one_copy(aligned_network(objective, 2, 2, 5e-2, generator))
    end = 1.2 * hitting_time(objective, features, 0.9).max()
    rate = end / 2 / 800
    path = descend(objective, start, process.batches(1, 2_000, generator), rate=rate, steps=800, every=100)
    assert path.predictor.shape == (9, 1, 2, 2)
    curves = learning_curves(objective, features, np.linspace(0, end, 9)).T
    assert path.weights[:, 0] == pytest.approx(curves, abs=0.04)


def test_descent_refuses_data_of_other_copies_and_reports_divergence():
    process = LinearProcess(kind="static", covariance=np.ones(2), influence=np.full(2, 0.5))
    start = aligned_network("mae", 2, 2, 0.5, np.random.default_rng(0))
    batches = process.batches(1, 8, np.random.default_rng(1))
    with pytest.raises(ValueError, match=r"batches of \(\) copies expected, got \(1,\)"):
        descend("mae", start, batches, rate=9, steps=50, every=50)
    with pytest.raises(FloatingPointError, match="diverged within 50 steps of rate 9"):
        descend("mae", with_one_copy(start), batches, rate=9, steps=50, every=50)


def test_a_predictor_turned_by_half_a_circle_unlearns_both_features():
    features = Features.of(covariance=[1, 0.8], influence=[0.5, 0.9], depth=2, scale=5e-2)
    start = aligned_network("jepa", 2, 2, 5e-2, np.random.default_rng(0))
    times = np.linspace(0, 3 * hitting_time("jepa", features, 0.5).max(), 9)
    moments = np.diag([1 / 0.5, 0.8 / 0.9]), np.diag([1, 0.8])
    turned = Network(factors=start.factors, predictor=-start.predictor)
    assert (gradient_flow("jepa", start, *moments, times).weights[-1] > 0.8 * fixed_point("jepa", features)).all()
    assert (np.diff(gradient_flow("jepa", turned, *moments, times).weights, axis=0) < 0).all()


def test_weight_of_a_feature_is_what_the_others_do_not_share():
    network = Network(factors=np.array([[[3.0, 3.0], [0.0, 4.0]]]), predictor=np.eye(2))
    assert network.weights == pytest.approx([3 * 4 / 5, 4])


def test_crossings_are_interpolated_in_the_logarithm():
    weights = np.array([[0.1, 0.1, 0.9], [0.4, 0.2, 0.9], [1.6, 0.3, 0.9]])
    times = crossing_times(np.array([0.0, 10, 20]), weights, np.array([0.8, 0.5, 0.5]))
    assert times.tolist() == [pytest.approx(15), np.inf, 0]


@pytest.mark.parametrize(
    "ask",
    [
        lambda name: fixed_point(name, KNOWN),
        lambda name: hitting_time(name, KNOWN, 0.5),
        lambda name: simulate(name, KNOWN, 0.5),
        lambda name: learning_curves(name, KNOWN, np.linspace(0, 1, 3)),
        lambda name: leading_time(name, KNOWN),
        lambda name: critical_time(name, KNOWN, 0.5),
        lambda name: aligned_network(name, 2, 2, 0.1, np.random.default_rng(0)),
        lambda name: gradient(name, aligned_network("jepa", 3, 2, 0.1, np.random.default_rng(0)), *MOMENTS),
    ],
)
def test_an_objective_that_there_is_not_is_refused(ask):
    with pytest.raises(ValueError, match="objective must be one of jepa, mae, got 'JEPA'"):
        ask("JEPA")


@pytest.mark.parametrize(
    ("name", "value"), [("covariance", 0.0), ("covariance", -1.0), ("covariance", np.inf), ("influence", np.nan)]
)
def test_a_process_needs_positive_finite_numbers(name, value):
    fitting = {"covariance": np.ones(2), "influence": np.full(2, 0.5)}
    with pytest.raises(ValueError, match=rf"{name} must be \[d\], positive and finite, got .*{value:g}"):
        LinearProcess(kind="static", **(fitting | {name: np.array([0.5, value])}))


def test_one_time_has_no_crossing():
    with pytest.raises(ValueError, match="at least 2 times and weights at each of them expected, got 1 and 1"):
        crossing_times(np.zeros(1), np.ones((1, 2)), np.ones(2))
