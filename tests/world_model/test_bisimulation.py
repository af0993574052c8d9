"""Bisimulation on tables and on finite data, against known answers and against the definitions spelled out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_rl.world_model.bisimulation import Refinement, empirical_relation, refine, separation_depth

COUNTS = np.arange(9)
COUNTING = np.stack([np.maximum(COUNTS - 1, 0), np.minimum(COUNTS + 1, 8)], axis=1)


def random_table(seed, labels=2, max_states=12):
    rng = np.random.default_rng(seed)
    states, actions = rng.integers(1, max_states), rng.integers(1, 4)
    return rng.integers(states, size=(states, actions)), rng.integers(labels, size=states)


def naive_separation(transition, label, action_labels=True):
    """The step at which each pair enters R, by the definition over pairs (with actions) or over classes (without)."""
    states = len(label)
    depth = np.full((states, states), -1)
    keys = [np.atleast_1d(row).tolist() for row in label]
    for step in range(states):
        apart = [[keys[i] != keys[j] for j in range(states)] for i in range(states)]
        depth[np.array(apart) & (depth < 0)] = step
        names = [keys.index(key) for key in keys]
        followers = [[names[s] for s in row] for row in transition]
        keys = [(name, f if action_labels else set(f)) for name, f in zip(names, followers, strict=True)]
    return depth


def naive_relation(transitions, label, labelled):
    n = len(label)
    apart = {
        (i, j)
        for i in range(n)
        for j in range(n)
        if labelled[i] and labelled[j] and np.atleast_1d(label[i]).tolist() != np.atleast_1d(label[j]).tolist()
    }
    while True:
        forced = {
            (o1, o2)
            for (o1, a1, next1), (o2, a2, next2) in itertools.product(transitions, repeat=2)
            if a1 == a2 and (next1, next2) in apart
        }
        if forced <= apart:
            return np.array([[(i, j) in apart for j in range(n)] for i in range(n)])
        apart |= forced


def test_counting_refines_in_four_steps_to_nine_classes():
    result = refine(COUNTING, COUNTS == 4)
    assert result.counts == (2, 4, 6, 8, 9)
    assert result.depth == 4
    assert result.classes.tolist() == list(range(9))


@pytest.mark.parametrize("target", range(9))
def test_counting_has_nine_classes_for_any_target(target):
    assert refine(COUNTING, target == COUNTS).counts[-1] == 9


def test_a_constant_label_leaves_one_class():
    assert refine(COUNTING, np.zeros(9)).counts == (1,)
    assert refine(COUNTING, np.zeros(9)).classes.tolist() == [0] * 9


def test_the_dense_label_starts_at_five_classes_and_ends_at_nine():
    assert refine(COUNTING, 1 - np.abs(COUNTS - 4) / 8).counts == (5, 9)


def test_without_action_labels_the_mirror_images_merge():
    result = refine(COUNTING, COUNTS == 4, action_labels=False)
    assert result.counts[-1] == 5
    assert result.classes.tolist() == [0, 1, 2, 3, 4, 3, 2, 1, 0]


def test_without_action_labels_successors_are_a_set_and_not_a_bag():
    # States 0 and 1 both reach {2, 3}, in different proportions.
    transition = np.array([[2, 2, 3], [2, 3, 3], [2, 2, 2], [3, 3, 3]])
    label = np.array([0, 0, 1, 2])
    assert refine(transition, label, action_labels=False).classes.tolist() == [0, 0, 1, 2]
    assert refine(transition, label).classes.tolist() == [0, 1, 2, 3]


def test_an_absorbing_state_separates_by_its_label_only():
    transition = np.array([[1, 2], [1, 1], [2, 2]])
    assert refine(transition, np.array([0, 0, 0])).counts == (1,)
    assert refine(transition, np.array([0, 0, 1])).classes.tolist() == [0, 1, 2]


def test_every_column_of_a_vector_label_counts():
    transition = np.zeros((4, 1), int)
    label = np.array([[0.0, 0.5], [0.0, 0.25], [1.0, 0.5], [0.0, 0.5]])
    assert refine(transition, label).classes.tolist() == [0, 1, 2, 0]


def test_classes_are_numbered_by_first_appearance():
    assert refine(np.zeros((5, 1), int), np.array([7, -2, 7, 3, -2])).classes.tolist() == [0, 1, 0, 2, 1]


def test_a_corridor_needs_as_many_steps_as_it_is_long():
    length = 300
    transition = np.minimum(np.arange(length) + 1, length - 1)[:, None]
    result = refine(transition, np.arange(length) == length - 1)
    assert result.counts == tuple(range(2, length + 1))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), action_labels=st.booleans())
def test_refinement_and_depths_equal_the_definition(seed, action_labels):
    transition, label = random_table(seed)
    expected = naive_separation(transition, label, action_labels)
    assert np.array_equal(separation_depth(transition, label, action_labels=action_labels), expected)
    result = refine(transition, label, action_labels=action_labels)
    assert np.array_equal(result.classes[:, None] == result.classes, expected < 0)
    for step, count in enumerate(result.counts):
        apart = (expected >= 0) & (expected <= step)
        assert count == len(np.unique(apart, axis=0))
    assert result.depth == max(expected.max(), 0)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), action_labels=st.booleans())
def test_renaming_the_states_renames_the_classes(seed, action_labels):
    transition, label = random_table(seed, max_states=30)
    new_name = np.random.default_rng(seed).permutation(len(label))
    renamed, relabelled = np.empty_like(transition), np.empty_like(label)
    renamed[new_name], relabelled[new_name] = new_name[transition], label
    before = refine(transition, label, action_labels=action_labels)
    after = refine(renamed, relabelled, action_labels=action_labels)
    assert after.counts == before.counts
    same = after.classes[new_name]
    assert np.array_equal(same[:, None] == same, before.classes[:, None] == before.classes)


def test_depth_is_the_shortest_distinguishing_action_sequence():
    depth = separation_depth(COUNTING, COUNTS == 4)
    assert (np.diag(depth) == -1).all()
    assert depth[4, 0] == 0
    assert depth[3, 5] == 1
    assert depth[0, 8] == 4
    assert depth[0, 1] == 3


def test_pairs_that_never_separate_have_depth_minus_one():
    assert (separation_depth(COUNTING, np.ones(9)) == -1).all()
    mirrored = separation_depth(COUNTING, COUNTS == 4, action_labels=False)
    assert mirrored[1, 7] == -1
    assert mirrored[1, 6] >= 0


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), deterministic=st.booleans())
def test_the_empirical_relation_equals_the_definition_on_partial_data(seed, deterministic):
    rng = np.random.default_rng(seed)
    n, actions, length = rng.integers(1, 8), rng.integers(1, 3), rng.integers(0, 12)
    observation, action = rng.integers(n, size=length), rng.integers(actions, size=length)
    table = rng.integers(n, size=(n, actions))
    target = table[observation, action] if deterministic else rng.integers(n, size=length)
    label, labelled = rng.integers(3, size=n), rng.random(n) < 0.6
    relation = empirical_relation(observation, action, target, label, labelled=labelled)
    transitions = list(zip(observation.tolist(), action.tolist(), target.tolist(), strict=True))
    assert np.array_equal(relation, naive_relation(transitions, label, labelled))
    assert np.array_equal(relation, relation.T)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_under_full_coverage_the_complement_is_the_bisimulation(seed):
    transition, label = random_table(seed)
    observation, action = (index.ravel() for index in np.indices(transition.shape))
    relation = empirical_relation(observation, action, transition.ravel(), label)
    classes = refine(transition, label).classes
    assert np.array_equal(~relation, classes[:, None] == classes)


def test_the_complement_need_not_be_transitive():
    # 0 and 2 lead to different labels; nothing was seen of 1, so it may merge with either, but not with both.
    relation = empirical_relation(
        np.array([0, 2]),
        np.array([0, 0]),
        np.array([3, 4]),
        np.array([0, 0, 0, 1, 2]),
        labelled=np.array([False, False, False, True, True]),
    )
    assert not relation[0, 1]
    assert not relation[1, 2]
    assert relation[0, 2]


def test_labels_may_be_nan_where_they_are_not_known():
    transitions = np.array([0, 1]), np.array([0, 0]), np.array([2, 3])
    label, labelled = np.array([np.nan, np.nan, 0.5, 1.0]), np.array([False, False, True, True])
    for shape in ((4,), (4, 1)):
        relation = empirical_relation(*transitions, label.reshape(shape), labelled=labelled)
        assert np.argwhere(np.triu(relation)).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="finite"):
        empirical_relation(*transitions, label, labelled=~labelled)


def test_separation_travels_backwards_over_several_transitions():
    # Two chains 0-1-2 and 3-4-5 whose ends differ.
    relation = empirical_relation(
        np.array([0, 1, 3, 4]),
        np.array([7, 7, 7, 7]),
        np.array([1, 2, 4, 5]),
        np.array([0, 0, 0, 0, 0, 1]),
        labelled=np.array([False, False, True, False, False, True]),
    )
    assert relation[0, 3]
    assert relation[1, 4]
    assert not relation[0, 4]


def test_different_actions_force_nothing_apart():
    label, labelled = np.array([0, 0, 0, 1]), np.array([False, False, True, True])
    apart = [empirical_relation([0, 1], [0, second], [2, 3], label, labelled=labelled)[0, 1] for second in (0, 1)]
    assert apart == [True, False]


def test_contradicting_successors_show_on_the_diagonal():
    relation = empirical_relation([0, 0], [0, 0], [1, 2], np.array([0, 1, 2]))
    assert relation.diagonal().tolist() == [True, False, False]


def test_data_without_transitions_leaves_the_labels():
    nothing = np.array([], int)
    relation = empirical_relation(nothing, nothing, nothing, np.array([[0.0, 1.0], [0.0, 2.0], [0.0, 1.0]]))
    assert relation.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


@pytest.mark.parametrize("function", [refine, separation_depth])
@pytest.mark.parametrize(
    ("transition", "label", "message"),
    [
        (np.zeros(3, int), np.zeros(3), "transition must be int"),
        (np.zeros((3, 0), int), np.zeros(3), "transition must be int"),
        (np.zeros((3, 2)), np.zeros(3), "transition must be int.*float64"),
        (np.zeros((3, 2), int), np.zeros(4), r"transition must be int\[S=4, A\].*\[3, 2\]"),
        (np.full((3, 2), 3), np.zeros(3), r"transition must lie in 0\.\.2, got 3\.\.3"),
        (np.full((3, 2), -1), np.zeros(3), r"transition must lie in 0\.\.2, got -1\.\.-1"),
        (np.zeros((0, 2), int), np.zeros(0), "label must be numbers"),
        (np.zeros((3, 2), int), np.zeros((3, 1, 1)), "label must be numbers"),
        (np.zeros((3, 2), int), np.zeros((3, 0)), "label must be numbers"),
        (np.zeros((3, 2), int), np.array(["a", "b", "c"]), "label must be numbers"),
        (np.zeros((3, 2), int), np.array([0.0, np.nan, 1.0]), "finite"),
        (np.zeros((3, 2), int), np.array([0.0, np.inf, 1.0]), "finite"),
    ],
)
def test_tables_that_do_not_fit_are_refused(function, transition, label, message):
    with pytest.raises(ValueError, match=message):
        function(transition, label)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"observation": np.array([0, 3])}, r"observation must lie in 0\.\.2, got 0\.\.3"),
        ({"next_observation": np.array([-1, 0])}, r"next_observation must lie in 0\.\.2"),
        ({"observation": np.array([0.0, 1.0])}, "observation must be int"),
        ({"action": np.array([0])}, "action must be int"),
        ({"action": np.array([[0], [1]])}, "action must be int"),
        ({"labelled": np.array([True, False])}, r"labelled must be bool\[3\]"),
        ({"labelled": np.array([1, 0, 1])}, r"labelled must be bool\[3\]"),
        ({"label": np.array([0.0, 1.0, np.nan])}, "finite"),
    ],
)
def test_data_that_do_not_fit_are_refused(changed, message):
    fitting = {
        "observation": np.array([0, 1]),
        "action": np.array([0, 0]),
        "next_observation": np.array([1, 2]),
        "label": np.zeros(3),
    }
    empirical_relation(**fitting)
    with pytest.raises(ValueError, match=message):
        empirical_relation(**(fitting | changed))


def test_arguments_are_left_as_they_were():
    transition, label = COUNTING.copy(), (COUNTS == 4).astype(np.int64)
    refine(transition, label)
    assert np.array_equal(transition, COUNTING)
    assert np.array_equal(label, COUNTS == 4)


def test_a_refinement_whose_counts_contradict_its_classes_is_refused():
    with pytest.raises(ValueError, match="counts"):
        Refinement(classes=np.array([0, 1]), counts=(1,))
