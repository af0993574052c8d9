"""The certificate on worlds whose exact latents, errors and Lipschitz constants are known."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from jepa_rl.world_model.bisimulation import separation_depth
from jepa_rl.world_model.certificate import certify, distance_bound, separation_gap

COUNTS = np.arange(9)
COUNTING = np.stack([np.maximum(COUNTS - 1, 0), np.minimum(COUNTS + 1, 8)], axis=1)
# The clipped steps of the counting environment as matrices on one-hot rows.
STEPS = torch.eye(9, dtype=torch.float64)[torch.as_tensor(COUNTING)]  # [9, A, 9]


def one_hot_world(target=4, repeats=4, **changes):
    """An exact model of counting: latent = one-hot count, T and P linear. ||T(., a)|| = sqrt(2), ||P|| = 1."""
    state = np.tile(COUNTS, repeats)
    action = torch.arange(len(state)) // 9 % 2
    latent = torch.eye(9, dtype=torch.float64)[state]

    def predict(z, a):
        return torch.einsum("ns,nsd->nd", z, STEPS[:, a].transpose(0, 1))

    world = {
        "latent": latent,
        "state": state,
        "action": action,
        "next_latent": predict(latent, action),
        "label": (state == target).astype(np.float32),
        "transition": COUNTING,
        "state_label": target == COUNTS,
        "predict": predict,
        "read": lambda z: z[:, target],
    }
    return world | changes


def line_world(base, last=5, bias=0.0, **changes):
    """A corridor that ends where p = 1. Latents lie on a line, T multiplies the step to the next by ``base``.

    P rises linearly over the last step, so K_P = 1 / that step, K_T = base, and neighbours are as close as they may be.
    """
    place = torch.tensor([sum(float(base) ** k for k in range(s)) for s in range(last + 1)], dtype=torch.float64)
    state = np.arange(last + 1)
    latent = place[:, None]

    def predict(z, a):
        return (1 + base * z).clamp(max=place[-1]) + bias

    world = {
        "latent": latent,
        "state": state,
        "action": torch.zeros(last + 1, dtype=torch.int64),
        "next_latent": predict(latent, None) - bias,
        "label": (state == last).astype(float),
        "transition": np.minimum(state + 1, last)[:, None],
        "state_label": state == last,
        "predict": predict,
        "read": lambda z: (1 - (place[-1] - z) / (place[-1] - place[-2])).clamp(min=0),
    }
    return world | changes


def noisy_counts(distance, noise, seed=0, repeats=20, dimension=32, merge=()):
    """Observations around nine centres that are ``distance`` apart in pairs; counts in ``merge`` share one centre."""
    state = np.tile(COUNTS, repeats)
    centre = torch.eye(9, dimension, dtype=torch.float64) * distance / 2**0.5
    for count in merge[1:]:
        centre[count] = centre[merge[0]]
    generator = torch.Generator().manual_seed(seed)
    latent = centre[state] + noise * torch.randn(len(state), dimension, dtype=torch.float64, generator=generator)
    zeros = torch.zeros(len(state), dtype=torch.int64)
    return one_hot_world(repeats=repeats) | {
        "latent": latent,
        "next_latent": latent,
        "action": zeros,
        "predict": lambda z, a: z,
        "read": lambda z: z[:, 4],
    }


@pytest.mark.parametrize(("target", "longest"), [(4, 4), (0, 7), (8, 7), (2, 5)])
def test_the_depths_are_those_of_the_counting_chain(target, longest):
    result = certify(**one_hot_world(target))
    assert [row.depth for row in result.depths] == list(range(longest + 1))
    assert sum(row.state_pairs for row in result.depths) == result.separable_state_pairs == 36
    assert result.depths[0].state_pairs == 8
    assert {row.gap for row in result.depths} == {1.0}


@pytest.mark.parametrize("base", [1, 2, 0.5, 3])
def test_the_bound_is_tight_at_every_depth_of_an_exact_line(base):
    result = certify(**line_world(base))
    assert result.label_error.maximum == result.dynamics_error.maximum == 0
    assert result.lipschitz_dynamics == pytest.approx(base)
    assert result.lipschitz_label == pytest.approx(1 / base**4)
    assert [row.depth for row in result.depths] == [0, 1, 2, 3, 4]
    for row in result.depths:
        neighbours = float(base) ** (4 - row.depth)
        assert row.bound_largest_errors == pytest.approx(neighbours)
        assert row.observation_min == row.centroid_min == pytest.approx(neighbours)


@pytest.mark.parametrize("target", [0, 3, 4])
def test_an_exact_model_is_never_closer_than_its_bound(target):
    result = certify(**one_hot_world(target))
    assert result.lipschitz_dynamics == pytest.approx(2**0.5)
    assert result.lipschitz_label == pytest.approx(1)
    assert result.mean_distance == pytest.approx(2**0.5)  # pairs of the same count do not enter
    for row in result.depths:
        assert row.bound_largest_errors == row.bound_mean_errors == pytest.approx(2 ** (-row.depth / 2))
        assert row.bound_largest_errors <= row.observation_min == pytest.approx(2**0.5)
        assert row.observation_quantile_01 == pytest.approx(2**0.5)
        assert row.centroid_mean == pytest.approx(2**0.5) == row.observation_mean


def test_measured_distances_are_summarised_by_depth():
    # Places 0, 1, 3, 7, 15, 31: the first five lie 31, 30, 28, 24, 16 from the last, which alone pays.
    row = certify(**line_world(2)).depths[0]
    assert (row.state_pairs, row.observation_min, row.centroid_min) == (5, 16, 16)
    assert row.observation_mean == row.centroid_mean == pytest.approx(25.8)
    assert row.observation_quantile_01 == pytest.approx(16 + 0.04 * 8)


def test_errors_loosen_the_bound_by_their_share_at_each_depth():
    result = certify(**line_world(2, bias=0.25))
    assert result.dynamics_error == dataclasses.replace(result.dynamics_error, maximum=0.25, mean=0.25, quantile_99=0.25)
    assert result.dynamics_error_relative == pytest.approx(0.25 / result.mean_distance)
    # K_T = 2, e_T = 1/4, D / K_P = 16: (16 - (2^n - 1) / 2) / 2^n.
    expected = [16, 7.75, 3.625, 1.5625, 0.53125]
    assert [row.bound_largest_errors for row in result.depths] == pytest.approx(expected)


def test_largest_mean_and_quantile_errors_are_told_apart():
    world = one_hot_world(repeats=11)
    world["next_latent"] = world["next_latent"].clone()
    world["next_latent"][5, 0] += 0.3
    result = certify(**world, seed=3)
    assert result.observations == 99
    assert result.dynamics_error.maximum == pytest.approx(0.3)
    assert result.dynamics_error.mean == pytest.approx(0.3 / 99)
    assert 0 < result.dynamics_error.quantile_99 < 0.3
    assert result.depths[2].bound_largest_errors < 0 < result.depths[2].bound_mean_errors < 0.5


def test_a_label_error_costs_twice_its_size():
    world = one_hot_world()
    world["read"] = lambda z: z[:, 4] + 0.1
    result = certify(**world)
    assert result.label_error.maximum == pytest.approx(0.1)
    assert result.depths[0].bound_largest_errors == pytest.approx(0.8)


def test_the_bound_with_constant_one_is_linear_in_the_depth():
    assert distance_bound(1.0, 0.1, 0.02, 2.0, 1.0, 5).item() == pytest.approx(0.4 - 2 * 0.02 * 5)


@pytest.mark.parametrize("step", [1e-4, 1e-9, 3e-14, 1e-15, -1e-9])
def test_the_bound_is_continuous_at_constant_one(step):
    bound = partial(distance_bound, 1.0, 0.1, 0.02, 2.0)
    assert bound(1 + step, 5).item() == pytest.approx(bound(1.0, 5).item(), abs=10 * abs(step) + 1e-14)


def test_the_bound_equals_the_recursion_that_it_solves():
    label_distance, dynamics_error, constant = (0.9 - 2 * 0.05) / 1.5, 0.03, 1.7
    needed = label_distance
    for depth in range(6):
        assert distance_bound(0.9, 0.05, dynamics_error, 1.5, constant, depth).item() == pytest.approx(needed)
        needed = (needed - 2 * dynamics_error) / constant


def test_the_bound_broadcasts_and_survives_great_depths():
    bound = distance_bound(np.array([[1.0], [2.0]]), 0.0, 0.01, 1.0, np.array([1.0, 2.0, 50.0]), np.array([0, 1, 5_000]))
    assert bound.shape == (2, 3)
    assert bound[:, :2] == pytest.approx(np.array([[1, 0.49], [2, 0.99]]))
    assert bound[:, 2] == pytest.approx(-0.02 / 49)


@pytest.mark.parametrize("name", ["gap", "label_error", "dynamics_error", "depth", "lipschitz_label", "lipschitz_dynamics"])
def test_the_bound_refuses_what_cannot_be(name):
    numbers = {"gap": 1, "label_error": 0, "dynamics_error": 0, "lipschitz_label": 1, "lipschitz_dynamics": 1, "depth": 1}
    with pytest.raises(ValueError, match=name):
        distance_bound(**numbers | {name: -1})
    if name.startswith("lipschitz"):
        with pytest.raises(ValueError, match=name):
            distance_bound(**numbers | {name: 0})


def test_the_gap_is_the_largest_over_shortest_sequences_and_norms_vector_labels():
    # 0 and 1 differ only after one action: by (3, 4) after the first, by (0, 1) after the second.
    transition = np.array([[2, 4], [3, 5], [2, 2], [3, 3], [4, 4], [5, 5]])
    label = np.array([[0, 0], [0, 0], [0, 0], [3, 4], [1, 0], [1, 1]])
    gap = separation_gap(transition, label, separation_depth(transition, label))
    assert gap[0, 1] == gap[1, 0] == gap[2, 3] == 5
    assert gap[4, 5] == 1
    assert gap[3, 4] == pytest.approx(20**0.5)
    assert (np.diag(gap) == 0).all()


def test_a_larger_gap_at_a_later_action_does_not_count():
    # Action 0 separates 0 and 1 at once by 1; action 1 leads to a pair that separates by 10 one step later.
    transition = np.array([[2, 4], [3, 5], [2, 2], [3, 3], [6, 6], [7, 7], [6, 6], [7, 7]])
    label = np.array([0.0, 0, 0, 1, 0, 0, 0, 10])
    depth = separation_depth(transition, label)
    gap = separation_gap(transition, label, depth)
    assert (depth[0, 1], gap[0, 1]) == (1, 1)
    assert (depth[4, 5], gap[4, 5]) == (1, 10)


def test_dense_rewards_reach_their_gap_after_the_fewest_actions():
    label = 1 - np.abs(COUNTS - 4) / 8
    depth = separation_depth(COUNTING, label)
    gap = separation_gap(COUNTING, label, depth)
    assert (depth[3, 5], gap[3, 5]) == (1, 0.25)  # 3 and 5 go to 2 and 4, or 4 and 6
    assert gap[0, 4] == 0.5
    assert (depth[0, 8], gap[0, 8]) == (1, 0.125)


@pytest.mark.parametrize("level", [0.0, 0.1, 1 / 3])
def test_a_collapsed_encoder_merges_every_pair(level):
    constant = torch.full((36, 9), level, dtype=torch.float64)
    result = certify(**one_hot_world(latent=constant, next_latent=constant))
    assert len(result.merged_states) == result.separable_state_pairs == 36
    assert result.merged_observation_share == 1
    assert len(result.closest_merged) == 20
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_differences_below_the_rounding_of_float32_do_not_separate():
    latent = 1 + 1e-8 * torch.eye(9, dtype=torch.float64)
    world = one_hot_world(repeats=1, latent=latent, next_latent=latent)
    result = certify(**world)
    assert len(result.merged_states) == 36
    assert result.merged_observation_share == 1


def test_noise_around_one_point_does_not_pass_for_separation():
    result = certify(**noisy_counts(distance=0.0, noise=1e-3))
    assert len(result.merged_states) == 36
    assert result.merged_observation_share == 0  # among noise, no pair is closer than a tenth of the mean


def test_one_merged_pair_is_found_and_listed():
    result = certify(**noisy_counts(distance=1.0, noise=1e-3, merge=(2, 6)), listed=7)
    assert result.merged_states == ((2, 6),)
    assert result.merged_observation_share == pytest.approx(1 / 36)
    assert len(result.closest_merged) == 7
    distances = [pair.distance for pair in result.closest_merged]
    assert distances == sorted(distances)
    assert 0 < distances[-1] < 0.01
    latent = noisy_counts(distance=1.0, noise=1e-3, merge=(2, 6))["latent"]
    for pair in result.closest_merged:
        assert {pair.first_state, pair.second_state} == {2, 6} == {pair.first % 9, pair.second % 9}
        assert pair.distance == pytest.approx((latent[pair.first] - latent[pair.second]).norm().item())


def test_separate_clusters_merge_nothing():
    result = certify(**noisy_counts(distance=1.0, noise=1e-3))
    assert result.merged_states == result.closest_merged == ()
    assert result.merged_observation_share == 0


def test_the_merge_fraction_decides_how_near_is_merged():
    world = noisy_counts(distance=1.0, noise=1e-4)
    close = torch.zeros(9, 32, dtype=torch.float64)
    close[:, 0] = torch.tensor([0.0, 0.3, 10, 20, 30, 40, 50, 60, 70])
    world["latent"] = world["next_latent"] = close[world["state"]]
    assert certify(**world).merged_states == ((0, 1),)
    assert certify(**world, merge_fraction=0.005).merged_states == ()


def test_equivalent_states_never_count_as_merged():
    constant = torch.zeros(36, 9, dtype=torch.float64)
    world = one_hot_world(latent=constant, next_latent=constant, label=np.zeros(36), state_label=np.zeros(9))
    result = certify(**world)
    assert result.depths == result.merged_states == result.closest_merged == ()
    assert result.merged_observation_share == result.separable_state_pairs == 0
    assert result.mean_distance is result.dynamics_error_relative is None


def test_only_equivalent_states_are_excused_from_separation():
    # Two copies of one corridor 0 -> 1 -> 2: copies may share a latent, and here do.
    transition, label = np.array([[1], [2], [2], [4], [5], [5]]), np.array([0, 0, 1, 0, 0, 1])
    state = np.arange(6)
    latent = torch.tensor([[0.0], [1], [2], [0], [1], [2]])
    world = line_world(1, last=5) | {"latent": latent, "next_latent": latent[transition[:, 0]], "state": state}
    world |= {"label": label, "transition": transition, "state_label": label}
    world |= {"predict": lambda z, a: (z + 1).clamp(max=2), "read": lambda z: (z - 1).clamp(min=0)}
    result = certify(**world)
    assert result.merged_states == ()
    assert result.separable_state_pairs == 12
    assert [row.bound_largest_errors for row in result.depths] == pytest.approx([1, 1])


def test_states_that_do_not_occur_are_left_out():
    world = one_hot_world()
    kept = np.flatnonzero(np.isin(world["state"], [0, 1, 4]))
    for name in ("latent", "state", "action", "next_latent", "label"):
        world[name] = world[name][kept]
    result = certify(**world)
    assert [(row.depth, row.state_pairs) for row in result.depths] == [(0, 2), (3, 1)]


def test_the_jacobian_finds_slopes_between_the_latents():
    # P is flat at both latents and steep between them: the pair sees 1/2, the midpoint 8 * 4/2 * 1/2.
    world = line_world(1, last=1, read=lambda z: torch.sigmoid(32 * (z - 0.5)))
    assert certify(**world).lipschitz_label == pytest.approx(8)


def test_a_steep_kink_off_the_sampled_points_is_found_by_pairs():
    # P jumps between 0.3 and 0.4, where neither latents (0, 1) nor their midpoint lie: only the pair sees a slope.
    world = line_world(1, last=1, read=lambda z: ((z - 0.3) * 10).clamp(0, 1) + 1e-3 * z)
    assert certify(**world).lipschitz_label == pytest.approx(1.001)


@pytest.mark.parametrize("factors", [(1.0, 3.0), (3.0, 1.0)])
def test_the_worst_action_decides_the_constant(factors):
    factor = torch.tensor(factors, dtype=torch.float64)
    world = one_hot_world(predict=lambda z, a: factor[a][:, None] * z)
    assert certify(**world).lipschitz_dynamics == pytest.approx(3)
    world = line_world(1, last=1, action=torch.tensor([0, 1]))
    world["predict"] = lambda z, a: factor[a][:, None] * torch.sigmoid(32 * (z - 0.5))
    assert certify(**world).lipschitz_dynamics == pytest.approx(24)


def test_the_estimate_is_the_spectral_norm_of_a_network():
    torch.manual_seed(0)
    weight = torch.randn(9, 9, dtype=torch.float64)
    world = one_hot_world(predict=lambda z, a: z @ weight.T)
    assert certify(**world).lipschitz_dynamics == pytest.approx(torch.linalg.matrix_norm(weight, 2).item(), rel=0.02)


def test_vector_labels_and_boxes_of_actions_are_certified():
    vector = np.eye(9)[:, :3]
    world = one_hot_world(label=vector[np.tile(COUNTS, 4)], state_label=vector, read=lambda z: 2 * z[:, :3])
    world["action"] = torch.linspace(-1, 1, 72, dtype=torch.float64).reshape(36, 2)
    world["predict"] = lambda z, a: z * (1 + a[:, :1]) / 2
    result = certify(**world)
    assert result.label_error.maximum == 1
    assert result.lipschitz_label == pytest.approx(2)
    assert 0.5 < result.lipschitz_dynamics <= 1
    assert result.depths[0].gap == 1  # a unit vector against the zero vector; two unit vectors are sqrt(2) apart


def test_the_result_depends_on_nothing_but_the_arguments_and_leaves_no_gradients():
    network = nn.Sequential(nn.Linear(9, 16), nn.SiLU(), nn.Linear(16, 9)).double()
    world = one_hot_world(predict=lambda z, a: network(z))
    first = certify(**world)
    torch.rand(3)
    assert certify(**world) == first
    assert all(parameter.grad is None for parameter in network.parameters())
    with torch.no_grad():
        assert certify(**world).lipschitz_dynamics == pytest.approx(first.lipschitz_dynamics)


def test_constant_heads_give_no_bound_rather_than_an_infinite_one():
    result = certify(**one_hot_world(read=lambda z: torch.zeros(len(z))))
    assert result.lipschitz_label == 0
    assert result.depths[0].bound_largest_errors is result.depths[0].bound_mean_errors is None
    assert json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))["label_error"]["maximum"] == 1


def test_a_head_without_gradient_is_refused_instead_of_called_flat():
    with pytest.raises(ValueError, match="differentiable"):
        certify(**one_hot_world(read=torch.no_grad()(lambda z: z[:, 4].detach())))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": np.tile(COUNTS, 4) + 1}, "state"),
        ({"state": np.tile(COUNTS, 4).astype(float)}, "state"),
        ({"state": COUNTS}, "state"),
        ({"action": torch.zeros(9, dtype=torch.int64)}, "action"),
        ({"label": np.zeros(36)}, "label"),
        ({"label": np.zeros((36, 2))}, "label"),
        ({"next_latent": torch.zeros(36, 8)}, "latents"),
        ({"latent": torch.zeros(36)}, "latents"),
        ({"transition": COUNTING + 1}, "transition"),
        ({"read": lambda z: z}, "read"),
        ({"predict": lambda z, a: z[:, :3]}, "predict"),
        ({"merge_fraction": 0.0}, "merge_fraction"),
        ({"merge_fraction": 1.0}, "merge_fraction"),
        ({"listed": -1}, "listed"),
    ],
)
def test_data_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        certify(**one_hot_world(**changes))


def test_lists_arrays_and_tensors_give_the_same_certificate():
    world = one_hot_world()
    names = ("latent", "state", "action", "next_latent", "label", "transition", "state_label")
    arrays = {name: np.asarray(world[name]) for name in names}
    expected = certify(**world)
    assert certify(**(world | arrays)) == expected
    assert certify(**(world | {name: torch.as_tensor(array) for name, array in arrays.items()})) == expected
    # Numbers in lists are float32 to torch; the one-hot rows are exact in it.
    world["predict"] = lambda z, a: torch.einsum("ns,nsd->nd", z, STEPS.to(z.dtype)[:, a].transpose(0, 1))
    listed = certify(**(world | {name: array.tolist() for name, array in arrays.items()}))
    assert [row.gap for row in listed.depths] == [row.gap for row in expected.depths]
    depth = separation_depth(COUNTING, COUNTS == 4)
    gap = separation_gap(COUNTING.tolist(), (COUNTS == 4).tolist(), depth.tolist())
    assert np.array_equal(gap, separation_gap(COUNTING, COUNTS == 4, depth))


def test_a_wrong_label_is_named_with_its_row():
    world = one_hot_world()
    world["label"][13] = 0.25
    with pytest.raises(ValueError, match=r"1\.0 in row 13 of state 4, got 0\.25"):
        certify(**world)


@pytest.mark.parametrize("labels", [[0.1 + 0.2, 0.3], [2**53, 2**53 + 1], [0.0, 1e-200]])
def test_labels_that_float64_cannot_hold_apart_have_no_gap(labels):
    table = np.array([[0], [1]])
    depth = separation_depth(table, np.array(labels))
    assert depth[0, 1] == 0
    with pytest.raises(ValueError, match=r"differ by more than float64 rounds, got \[.*\] of state 0 and .* of state 1"):
        separation_gap(table, np.array(labels), depth)


@pytest.mark.parametrize("name", ["latent", "next_latent", "predict", "read"])
def test_nothing_that_is_not_finite_passes(name):
    world = one_hot_world()
    if name.endswith("latent"):
        world[name] = world[name].clone()
        world[name][7, 2] = torch.nan
    else:
        exact = world[name]
        world[name] = lambda *given: exact(*given) * torch.inf
    with pytest.raises(FloatingPointError, match="latents are" if name.endswith("latent") else f"{name} returned"):
        certify(**world)


def test_an_infinite_slope_does_not_pass():
    with pytest.raises(FloatingPointError, match="Jacobian"):
        certify(**one_hot_world(read=lambda z: z[:, 4].sqrt()))


def test_a_bound_that_overflows_does_not_pass():
    with pytest.raises(FloatingPointError, match="bound"):
        distance_bound(1.0, 0.0, 0.0, 1.0, 0.5, 5_000)


@pytest.mark.parametrize(
    ("transition", "depth"),
    [
        (COUNTING[:5], np.zeros((9, 9), int)),
        (COUNTING + 1, np.zeros((9, 9), int)),
        (COUNTING.astype(float), np.zeros((9, 9), int)),
        (COUNTING, np.zeros((9, 8), int)),
        (COUNTING, np.zeros((9, 9))),
    ],
)
def test_the_gap_refuses_tables_that_do_not_fit(transition, depth):
    with pytest.raises(ValueError, match=r"transition|depth"):
        separation_gap(transition, COUNTS == 4, depth)
