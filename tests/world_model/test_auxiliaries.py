"""Every auxiliary task against losses that can be worked out by hand."""

import dataclasses
import math

import pytest
import torch

from jepa_rl.world_model import AuxiliaryConfig, Batch, ModelConfig, ObservationSpec, register_auxiliary, targets
from jepa_rl.world_model.auxiliaries import build_auxiliary
from jepa_rl.world_model.dynamics import ActionEncoder
from jepa_rl.world_model.targets import BATCH_TARGETS

LATENT = 6
VECTOR = ObservationSpec(kind="vector", shape=(5,))
DISCRETE = ActionEncoder(counts=(3,))


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(targets, "_registered", {})


def a_batch(size=16, transitions=3, observation=None, action=None, **fields) -> Batch:
    """Episodes, of which every fourth ends after two transitions."""
    generator = torch.Generator().manual_seed(0)
    alive = torch.ones(size, transitions, dtype=torch.bool)
    alive[::4, 2:] = False
    label = torch.randn(size, transitions + 1, generator=generator)
    observed = torch.randn(size, transitions + 1, 5, generator=generator) if observation is None else observation
    taken = torch.randint(3, (size, transitions), generator=generator) if action is None else action
    return Batch(
        observation=observed,
        action=taken,
        reward=label[:, 1:],
        terminated=torch.zeros(size, transitions, dtype=torch.bool),
        alive=alive,
        label=label,
        labelled=torch.cat([torch.zeros(size, 1, dtype=torch.bool), alive], dim=1),
        outcome=torch.full((size, transitions), -torch.inf),
        **fields,
    )


def a_task(target: str, *, observation=VECTOR, actions=DISCRETE, **choices):
    config = AuxiliaryConfig(target=target, **choices)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_auxiliary(config, latent_dim=LATENT, observation=observation, actions=actions)


def latents(batch: Batch) -> torch.Tensor:
    return torch.randn(*batch.label.shape, LATENT, generator=torch.Generator().manual_seed(3))


def aim(task, batch: Batch, seed: int = 2) -> torch.Tensor:
    return task.target(batch, torch.Generator().manual_seed(seed))


def silent(head: torch.nn.Sequential, bias: float = 0.0) -> None:
    """Let a head say the same whatever it sees."""
    torch.nn.init.zeros_(head[-1].weight)
    torch.nn.init.constant_(head[-1].bias, bias)


def loss_of(task, batch: Batch) -> float:
    action = torch.zeros(*batch.alive.shape, 3)
    return task.loss(task(latents(batch), action), aim(task, batch), batch).item()


def test_a_constant_is_learned_by_a_head_that_ignores_the_latent():
    task = a_task("constant")
    silent(task.head, bias=1.0)
    assert loss_of(task, a_batch()) == 0


def test_shuffled_rewards_are_the_labelled_rewards_dealt_out_anew():
    task, batch = a_task("shuffled_reward"), a_batch()
    known = batch.valid & batch.labelled
    dealt = aim(task, batch).squeeze(-1)
    assert dealt[known].sort().values.tolist() == batch.label[known].sort().values.tolist()
    assert dealt[known].tolist() != batch.label[known].tolist()
    assert (dealt[~known] == 0).all()
    assert torch.equal(dealt, aim(task, batch).squeeze(-1))
    assert not torch.equal(dealt, aim(task, batch, seed=5).squeeze(-1))
    silent(task.head)
    assert loss_of(task, batch) == pytest.approx(batch.label[known].square().mean().item(), rel=1e-5)


def test_noise_is_standard_normal_and_another_in_every_update():
    task, batch = a_task("noise"), a_batch(size=2_000)
    noise = aim(task, batch)
    assert noise.shape == (2_000, 4, 1)
    assert (noise.mean().item(), noise.std().item()) == pytest.approx((0, 1), abs=0.05)
    assert not torch.equal(noise, aim(task, batch, seed=5))


@pytest.mark.parametrize("target", ["random_linear", "random_network", "next_features", "reconstruction"])
def test_predicting_the_mean_target_costs_one(target):
    """Errors are over the variance of the targets, so that a weight means the same whatever their scale."""
    task, batch = a_task(target), a_batch(observation=100 * torch.randn(16, 4, 5))
    goal = aim(task, batch)
    among = batch.valid if goal.shape[1] == 4 else batch.alive
    mean = goal[among].mean(0).expand_as(goal)
    assert task.loss(mean, goal, batch).item() == pytest.approx(1.0, rel=1e-4)
    assert task.loss(goal, goal, batch) == 0


def test_next_features_are_those_of_the_observation_that_the_action_led_to():
    task, batch = a_task("next_features", size=7), a_batch()
    goal = aim(task, batch)
    assert goal.shape == (16, 3, 7)
    assert torch.allclose(goal[:, 1], task.function(batch.observation[:, 2]), atol=1e-6)
    assert isinstance(task.function.net, torch.nn.Sequential)  # a network, not a linear function
    latent, action = latents(batch), torch.randn(16, 3, 3)
    task.head = torch.nn.Identity()
    assert torch.equal(task(latent, action), torch.cat([latent[:, :3], action], dim=2))


@pytest.mark.parametrize(
    ("actions", "taken", "expected"),
    [
        (ActionEncoder(counts=(3,)), torch.ones(16, 3, dtype=torch.int64), math.log(3)),
        (ActionEncoder(counts=(3, 2)), torch.ones(16, 3, 2, dtype=torch.int64), (math.log(3) + math.log(2)) / 2),
        (ActionEncoder(box_size=2), torch.tensor([0.5, -1.0]).expand(16, 3, 2), (0.25 + 1) / 2),
    ],
)
def test_an_inverse_model_that_knows_nothing_pays_the_entropy_or_the_square(actions, taken, expected):
    task, batch = a_task("inverse", actions=actions), a_batch(action=taken)
    silent(task.head)
    assert loss_of(task, batch) == pytest.approx(expected, rel=1e-5)


def test_the_inverse_model_reads_the_latents_on_both_sides_of_the_action():
    task, batch = a_task("inverse"), a_batch()
    latent = torch.zeros(16, 4, LATENT)
    latent[:, 1:, :3] = torch.nn.functional.one_hot(batch.action, 3)  # each latent tells the action that led to it
    task.head = torch.nn.Linear(2 * LATENT, 3, bias=False)
    with torch.no_grad():
        task.head.weight.copy_(50 * torch.eye(3, 2 * LATENT).roll(LATENT, dims=1))
    assert task.loss(task(latent, torch.zeros(16, 3, 3)), aim(task, batch), batch).item() < 1e-6
    with torch.no_grad():
        task.head.weight.copy_(50 * torch.eye(3, 2 * LATENT))  # of the latent before the action
    assert task.loss(task(latent, torch.zeros(16, 3, 3)), aim(task, batch), batch).item() > 1


@pytest.mark.parametrize("shape", [(20, 17, 3), (3, 20, 17)])
def test_images_are_drawn_pixel_by_pixel_in_their_own_layout(shape):
    spec = ObservationSpec(kind="image", shape=shape, dtype="uint8")
    image = torch.randint(0, 256, (2, 2, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task, batch = a_task("reconstruction", observation=spec), a_batch(size=2, transitions=1, observation=image)
    goal = aim(task, batch)
    assert torch.equal((goal * 255).round().to(torch.uint8).reshape(image.shape), image)
    assert task(latents(batch), torch.zeros(2, 1, 3)).shape == goal.shape
    optimizer, losses = torch.optim.Adam(task.parameters(), lr=1e-2), []
    for _ in range(10):
        losses.append(task.loss(task(latents(batch), torch.zeros(2, 1, 3)), goal, batch))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1].item() < 0.9 * losses[0].item()


def test_grids_and_discrete_observations_are_told_by_their_symbols():
    grid = torch.randint(0, 2, (16, 4, 3, 3, 2), dtype=torch.uint8)
    spec = ObservationSpec(kind="grid", shape=(3, 3, 2), dtype="uint8", counts=(2, 256)).within(4)
    task, batch = a_task("reconstruction", observation=spec), a_batch(observation=grid)
    silent(task.decoder.net)
    assert loss_of(task, batch) == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-5)
    certain = 50 * torch.nn.functional.one_hot(aim(task, batch), 4).float()
    assert task.loss(certain, aim(task, batch), batch).item() < 1e-6

    spec = ObservationSpec(kind="onehot", shape=(2,), dtype="int64", counts=(2, 5), starts=(0, 7))
    value = torch.tensor([1, 11]).expand(16, 4, 2)
    task, batch = a_task("reconstruction", observation=spec), a_batch(observation=value)
    silent(task.decoder.net)
    assert aim(task, batch)[0, 0].tolist() == [1, 4]
    assert loss_of(task, batch) == pytest.approx((math.log(2) + math.log(5)) / 2, rel=1e-5)


def test_components_without_near_bounds_are_reconstructed_as_their_symlog():
    spec = ObservationSpec(kind="vector", shape=(2,), wide=(1,))
    value = torch.tensor([3.0, math.e**5 - 1]).expand(16, 4, 2)
    assert aim(a_task("reconstruction", observation=spec), a_batch(observation=value))[0, 0].tolist() == pytest.approx(
        [3, 5]
    )


def test_numbers_of_the_environment_are_learned_with_the_chosen_likelihood():
    given = {"info:position": torch.tensor([2.0, -4.0]).expand(16, 4, 2)}
    task, batch = a_task("info:position", size=2, likelihood="gaussian"), a_batch(targets=given)
    silent(task.head)
    assert loss_of(task, batch) == pytest.approx((4 + 16) / 2)
    task = a_task("info:position", size=2)
    silent(task.head)
    assert loss_of(task, batch) == pytest.approx(math.log(101), rel=1e-5)  # two_hot by default
    with pytest.raises(ValueError, match=r"must hold the targets of the auxiliary task 'info:count', got \['info:pos"):
        loss_of(a_task("info:count"), batch)


@pytest.mark.parametrize("target", [*BATCH_TARGETS, "info:count"])
def test_what_a_task_may_not_know_does_not_enter_its_loss_and_nothing_known_is_a_loss_of_zero(target):
    task, count = a_task(target), torch.randn(16, 4, 1)
    hidden = torch.zeros(16, 4, dtype=torch.bool)
    shown = hidden.clone()
    shown[:8] = True
    batch = a_batch(targets={"info:count": count}, shown={target: shown})
    output, goal = task(latents(batch), torch.zeros(16, 3, 3)), aim(task, batch)
    output_elsewhere = torch.cat([output[:8], 5 - 2 * output[8:]])
    assert task.loss(output, goal, batch) == task.loss(output_elsewhere, goal, batch) != 0
    everything = dataclasses.replace(batch, shown={})
    assert task.loss(output, goal, everything) != task.loss(output_elsewhere, goal, everything)

    nothing = dataclasses.replace(batch, shown={target: hidden})
    loss = task.loss(output, aim(task, nothing), nothing)
    loss.backward()
    assert loss == 0
    assert all(p.grad is None or (p.grad == 0).all() for p in task.parameters())


def test_targets_that_are_all_the_same_do_not_divide_by_zero():
    task, batch = a_task("reconstruction"), a_batch(observation=torch.zeros(16, 4, 5))
    assert math.isfinite(loss_of(task, batch))


def test_a_registered_task_brings_its_size_and_likelihood(registry):
    register_auxiliary("parity", lambda observation, info: info["count"] % 2, likelihood="bernoulli")
    assert AuxiliaryConfig(target="parity").number_likelihood == "bernoulli"
    assert AuxiliaryConfig(target="parity", likelihood="gaussian").number_likelihood == "gaussian"
    register_auxiliary("parity", lambda observation, info: (1, 2), size=2)
    assert AuxiliaryConfig(target="parity").numbers == 2
    assert AuxiliaryConfig(target="parity").number_likelihood == "two_hot"
    assert AuxiliaryConfig(target="info:count").numbers == 1
    assert AuxiliaryConfig(target="info:count", size=3).numbers == 3
    assert AuxiliaryConfig(target="random_linear").numbers == 256


@pytest.mark.parametrize("name", ["reward", "sigreg", "noise", "two words", "info:count", "items", "", "a.b"])
def test_names_that_are_taken_or_cannot_be_typed_are_refused(registry, name):
    with pytest.raises(ValueError, match=f"not taken already, got {name!r}"):
        register_auxiliary(name, len)


def test_a_registration_that_cannot_serve_is_refused(registry):
    with pytest.raises(TypeError, match="'parity' must be callable, got 3"):
        register_auxiliary("parity", 3)
    with pytest.raises(ValueError, match="size of auxiliary task 'parity' must be at least 1, got 0"):
        register_auxiliary("parity", len, size=0)


def test_an_unknown_target_names_the_nearest(registry):
    register_auxiliary("parity", len)
    with pytest.raises(ValueError, match="unknown auxiliary task 'party'; did you mean parity"):
        AuxiliaryConfig(target="party")
    with pytest.raises(ValueError, match="unknown auxiliary task 'invers'; did you mean inverse"):
        AuxiliaryConfig(target="invers")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"target": "noise", "weight": -1.0}, "'noise': weight must be at least 0, got -1.0"),
        ({"target": "noise", "weight": math.nan}, "'noise': weight must be a finite number, got nan"),
        ({"target": "noise", "label_fraction": 1.1}, r"'noise': label_fraction must be in \[0, 1\], got 1.1"),
        ({"target": "noise", "label_fraction": 0.0}, "'noise': label_fraction must be above 0 where the task has a weight"),
        ({"target": "noise", "hidden": 0}, "'noise': hidden must be at least 1, got 0"),
        ({"target": "noise", "size": 2}, "'noise': size must be 0, got 2"),
        ({"target": "info:count", "size": -1}, "'info:count': size must be at least 0, got -1"),
        ({"target": "inverse", "likelihood": "gaussian"}, "'inverse': likelihood must be auto, got gaussian"),
        ({"target": "info:"}, "needs a KEY"),
        ({"target": "info:a.b"}, "needs a KEY"),
    ],
)
def test_a_task_that_cannot_be_says_why(choices, message):
    with pytest.raises(ValueError, match=message):
        AuxiliaryConfig(**choices)


def test_the_same_target_twice_is_refused():
    with pytest.raises(ValueError, match=r"model.auxiliaries must be of different targets, got noise more than once"):
        ModelConfig(auxiliaries=(AuxiliaryConfig(target="noise"), AuxiliaryConfig(target="noise", weight=2.0)))
