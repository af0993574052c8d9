"""Observations packed into one array per row, and back."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_rl.agent import vectorize
from jepa_rl.agent.observation_spaces import TEXT_BYTES, observation_spec
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.spaces import space_from_json, space_to_json
from jepa_rl.world_model.encoders import ImageEncoder, ImageFormat, RowEncoder, TextEncoder, VectorEncoder

UNEVEN = spaces.Box(np.zeros((16, 16), np.uint8), 9 - np.eye(16, dtype=np.uint8), dtype=np.uint8)


def identical(space: spaces.Space, first, second) -> bool:
    """Equal to the bit, and in the same structure."""
    if isinstance(space, spaces.Dict):
        return first.keys() == second.keys() and all(identical(s, first[k], second[k]) for k, s in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return len(first) == len(second) and all(map(identical, space.spaces, first, second))
    if isinstance(first, str):
        return first == second
    return np.shape(first) == np.shape(second) and np.asarray(first, space.dtype).tobytes() == np.asarray(second).tobytes()


def nested() -> spaces.Dict:
    inner = spaces.Tuple([spaces.Box(-np.inf, np.inf, (2,), np.float64), spaces.Discrete(3, start=5)])
    return spaces.Dict(camera=spaces.Box(0, 255, (16, 16, 3), np.uint8), inner=inner, mission=spaces.Text(20))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_observations_of_every_space_come_back_as_they_were(observation_spaces, data, seed):
    space = data.draw(observation_spaces)
    space.seed(seed)
    adapter = ObservationAdapter(space, "vector" if isinstance(space, spaces.Box) else "auto")
    samples = [space.sample() for _ in range(3)]
    packed = [adapter.pack(sample) for sample in samples]
    for row, sample in zip(packed, samples, strict=True):
        assert (row.shape, row.dtype) == (adapter.shape, adapter.dtype)
        assert identical(space, sample, adapter.unpack(row))
    batch = gym.vector.utils.concatenate(space, samples, gym.vector.utils.create_empty_array(space, 3))
    assert adapter.pack(batch).tolist() == np.stack(packed).tolist()
    assert adapter.pack(adapter.unpack(np.stack(packed))).tolist() == np.stack(packed).tolist()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_space_comes_back_from_its_description(observation_spaces, data):
    space = data.draw(observation_spaces)
    assert space_from_json(space_to_json(space)) == space


def test_bounds_that_floats_cannot_hold_come_back_from_their_description():
    space = spaces.Box(-(2**62) - 1, 2**62 + 1, (2,), np.int64)
    assert space_from_json(space_to_json(space)) == space


def test_a_row_is_the_bytes_of_its_parts_in_their_order():
    space = spaces.Dict(a=spaces.Box(0, 9, (2,), np.uint8), b=spaces.Box(-9, 9, (), np.float32), c=spaces.Text(4))
    packed = ObservationAdapter(space, "auto").pack({"c": "hi", "b": np.float32(1), "a": np.array([7, 8], np.uint8)})
    assert packed.tolist() == [7, 8, 0, 0, 128, 63, *b"hi", 255, 255]


def test_the_row_encoder_gives_each_part_to_its_own_encoder():
    """Two identity 'encoders' of one number each, fused with weights 1 and 10."""
    identity = torch.nn.Flatten()
    encoder = RowEncoder(parts=[(identity, torch.uint8, (1,)), (identity, torch.float64, (1,))], latent_dim=1)
    torch.nn.init.zeros_(encoder.fuse.bias)
    encoder.fuse.weight.data = torch.tensor([[1.0, 10.0]])
    encoder.double()
    rows = np.concatenate([np.array([[3], [4]], np.uint8), np.array([[0.5], [-2.0]]).view(np.uint8)], axis=1)
    assert encoder(torch.from_numpy(rows)).tolist() == [[8.0], [-16.0]]
    assert encoder(torch.from_numpy(rows[1:])).tolist() == [[-16.0]]


def test_texts_are_told_apart_by_the_order_of_their_characters_and_not_by_their_padding():
    encoder = TextEncoder(hidden=(8,), latent_dim=4)
    adapters = [ObservationAdapter(spaces.Dict(text=spaces.Text(length)), "auto") for length in (20, 30)]
    texts = ["a red key", "a key red", "", "a"]
    short, long = (encoder(torch.from_numpy(a.pack({"text": texts}))) for a in adapters)
    assert torch.equal(short, long)
    assert torch.pdist(short).min() > 1e-3


@pytest.mark.parametrize(
    ("space", "kind", "shape", "low", "high"),
    [
        (spaces.Box(0, 255, (16, 20, 3), np.uint8), "image", (16, 20, 3), 0, 255),
        (spaces.Box(0, 1, (4, 20, 16), np.float32), "image", (4, 20, 16), 0, 1),
        (spaces.Box(-2, 2, (16, 16, 1), np.float64), "image", (16, 16, 1), -2, 2),
        (spaces.Box(0, 255, (20, 16), np.uint8), "image", (20, 16, 1), 0, 255),
        (spaces.Box(0, 1, (20, 16), np.float32), "vector", (20, 16), 0, 255),
        (spaces.Box(0, 1, (15, 20, 15), np.float32), "vector", (15, 20, 15), 0, 255),
        (spaces.Box(-np.inf, np.inf, (16, 16, 3), np.float32), "vector", (16, 16, 3), 0, 255),
        (spaces.Box(0, 255, (8, 8), np.uint8), "vector", (8, 8), 0, 255),
        (spaces.Box(0, 1, (16, 16, 3), np.uint8), "image", (16, 16, 3), 0, 1),
        (UNEVEN, "image", (16, 16, 1), 0, 255),
    ],
)
def test_images_are_told_from_vectors(space, kind, shape, low, high):
    spec = observation_spec(space, "auto")
    assert (spec.kind, spec.shape, spec.low, spec.high) == (kind, shape, low, high)


def test_float_images_are_read_as_the_same_pixels():
    pixels, floats = (
        ImageEncoder(
            images=ImageFormat(shape=(16, 16, 3), contrast="max", low=low, high=high),
            convolutions=((4, 4, 4, 0),),
            latent_dim=5,
        )
        for low, high in [(0.0, 255.0), (-1.0, 1.0)]
    )
    floats.load_state_dict(pixels.state_dict())
    image = torch.randint(256, (2, 16, 16, 3), dtype=torch.uint8)
    assert torch.allclose(pixels(image), floats(image.double() / 127.5 - 1), atol=1e-5)


def test_components_without_near_bounds_are_read_as_their_symlog():
    space = spaces.Box(np.array([-1, -np.inf, -1001, 0]), np.array([1, 1, 1, 1000]), dtype=np.float64)
    spec = observation_spec(space, "auto")
    assert spec.wide == (1, 2)
    encoder = VectorEncoder(size=4, hidden=(), latent_dim=1, wide=spec.wide)
    encoder.net[0].weight.data = torch.tensor([[1.0, 10.0, 100.0, 1.0]])
    torch.nn.init.zeros_(encoder.net[0].bias)
    values = torch.tensor([[0.5, -(np.e**300) + 1, np.e - 1, 1000.0]], dtype=torch.float64)
    assert encoder(values).item() == pytest.approx(0.5 - 3000 + 100 + 1000)


def test_a_chosen_kind_is_that_of_the_parts_that_it_fits():
    space = spaces.Dict(
        grid=spaces.Box(0, 9, (7, 7, 3), np.uint8), velocity=spaces.Box(-1, 1, (2,)), heading=spaces.Discrete(4)
    )
    assert [part.kind for part in observation_spec(space, "grid").parts] == ["grid", "vector", "onehot"]
    with pytest.raises(ValueError, match=r"observation\['grid'\] space .* choose model.encoder.kind 'grid'"):
        observation_spec(space, "auto")
    with pytest.raises(ValueError, match="'grid' fits no part of the observation space"):
        observation_spec(spaces.Dict(velocity=space["velocity"]), "grid")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Text(5), "observation space Text.*no state to predict; put it in a Dict"),
        (
            spaces.Dict(a=spaces.Sequence(spaces.Discrete(2))),
            r"observation\['a'\] space Sequence.*its length varies.*pad it",
        ),
        (spaces.Tuple([spaces.Graph(spaces.Discrete(2), None)]), r"observation\[0\] space Graph.*nodes and edges vary"),
        (spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]), "its shape varies"),
        (spaces.Dict({}), "holds nothing to observe"),
        (spaces.Box(0, 1, (0,)), "must hold at least one value"),
        (spaces.Box(0, 1, (2,), np.longdouble), "at most 64 bits"),
    ],
)
def test_a_space_that_cannot_be_encoded_is_refused_with_the_reason_and_a_way_out(space, message):
    with pytest.raises(ValueError, match=f"{message}.*supported are Box"):
        observation_spec(space, "auto")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inner": (np.array([0.0, np.nan]), 5)}, FloatingPointError, r"observation\['inner'\]\[0\] is not finite"),
        ({"inner": (np.array([0.0, 1.0, 2.0]), 5)}, ValueError, r"must have shape \(2,\) or \(N, 2\), got \(3,\)"),
        ({"inner": (np.zeros((4, 2)), 5)}, ValueError, r"must agree in their batch shape, got \[\(\), \(4,\)\]"),
        ({"inner": (np.zeros(2), 5.5)}, TypeError, r"\['inner'\]\[1\] must be int64, got float64 with values"),
        ({"inner": (np.zeros(2),)}, ValueError, r"observation\['inner'\] must have a part 1"),
        ({"mission": "far too long for a text of 20"}, ValueError, r"at most 20 bytes of UTF-8, got 29"),
        ({"camera": np.full((16, 16, 3), 256)}, TypeError, r"\['camera'\] must be uint8, got int64"),
    ],
)
def test_an_observation_that_does_not_fit_is_named(change, error, message):
    space = nested()
    space.seed(0)
    with pytest.raises(error, match=message):
        ObservationAdapter(space, "auto").pack(space.sample() | change)


def test_a_value_of_a_batch_that_is_not_finite_names_its_environment():
    with pytest.raises(FloatingPointError, match="observation of environment 2 is not finite"):
        ObservationAdapter(spaces.Box(-1, 1, (2,)), "auto").pack(np.array([[0, 0], [1, 1], [0, np.inf], [np.nan, 0]]))


def test_a_value_far_out_of_its_bounds_is_refused_unless_it_is_read_as_its_symlog():
    adapter = ObservationAdapter(spaces.Box(np.array([-1, -np.inf]), np.array([1, np.inf]), dtype=np.float64), "auto")
    outside = np.array([[1.5, 1e30], [-1e5, 0.0]])
    np.testing.assert_array_equal(adapter.pack(outside), outside)
    with pytest.raises(ValueError, match=r"near its bounds, \[-1, 1\] for component 0, got -1e\+30; with bounds"):
        adapter.pack(np.array([[0.0, 0.0], [-1e30, 0.0]]))


def test_a_float_image_far_out_of_its_bounds_is_refused():
    image = np.zeros((16, 16, 3), np.float32)
    image[1, 2, 1] = 1e30
    with pytest.raises(ValueError, match=r"near its bounds, \[0, 1\] for component 55, got 1e\+30$"):
        ObservationAdapter(spaces.Box(0, 1, (16, 16, 3)), "auto").pack(image)


def test_an_array_that_is_no_packed_row_is_refused():
    adapter = ObservationAdapter(nested(), "auto")
    with pytest.raises(ValueError, match=r"must be a Dict or packed rows uint8\[..., \d+\], got float64\[3\]"):
        adapter.pack(np.zeros(3))


class Wanderer(gym.Env):
    """Draws its observations from the space; an episode has three steps."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space) -> None:
        self.observation_space = space
        self.given = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.given.append(self.observation_space.sample())
        return self.given[-1], {}

    def step(self, action):
        self.steps += 1
        self.given.append(self.observation_space.sample())
        return self.given[-1], 0.0, self.steps == 3, False, {}


def test_nested_observations_and_texts_pass_through_the_vector_environment():
    made = []

    def factory() -> gym.Env:
        made.append(Wanderer(nested()))
        return made[-1]

    venv = vectorize(factory, 2)
    first = venv.reset()
    for _ in range(3):
        last, _, done, info = venv.step(np.zeros(2, int))
    assert first["mission"] == tuple(env.given[0]["mission"] for env in made)
    assert first["inner"][0].tolist() == [env.given[0]["inner"][0].tolist() for env in made]
    assert done.all()
    assert [i["terminal_observation"]["mission"] for i in info] == [env.given[3]["mission"] for env in made]
    assert last["camera"].tolist() == [env.given[4]["camera"].tolist() for env in made]


def test_one_environment_given_twice_is_refused():
    env = Wanderer(nested())
    with pytest.raises(ValueError, match="gave the same one twice"):
        vectorize(lambda: env, 2)


def test_texts_of_foreign_spaces_have_room():
    import minigrid  # noqa: F401  # registers the environments

    space = gym.make("MiniGrid-Fetch-5x5-N2-v0").observation_space
    spec = observation_spec(space, "grid")
    assert [(part.kind, part.shape) for part in spec.parts] == [
        ("onehot", ()),
        ("grid", (7, 7, 3)),
        ("text", (TEXT_BYTES,)),
    ]
    assert observation_spec(space_from_json(space_to_json(space)), "grid") == spec


def test_stacks_of_images_are_refused_and_joined_ones_or_vectors_taken():
    stack = spaces.Box(0, 255, (4, 20, 24, 3), np.uint8)
    with pytest.raises(
        ValueError, match=r"is a stack of images, .*make_env join the last N along their channels \(history=N\)"
    ):
        ObservationAdapter(stack, "auto")
    assert ObservationAdapter(stack, "vector").spec.kind == "vector"
    assert ObservationAdapter(spaces.Box(0, 255, (20, 24, 12), np.uint8), "auto").spec.kind == "image"
