"""One gradient step under each way of weighting the losses."""

import dataclasses

import numpy as np
import pytest
import torch

from jepa_rl.agent import JEPAAgent, preset
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.world_model import AuxiliaryConfig, RegularizerConfig, loss_terms, loss_weights
from jepa_rl.world_model.alignment import encoder_gradient
from jepa_rl.world_model.weighting import project_conflicts

LEARNED = {"dynamics", "reward", "value", "termination", "inverse"}


@pytest.fixture
def agent_of(small_config):
    def make(weighting: str, **model) -> JEPAAgent:
        """An agent with some transitions, before its first update."""
        auxiliaries = (AuxiliaryConfig(target="inverse", weight=2.0), AuxiliaryConfig(target="noise", weight=0.0))
        changes = {"auxiliaries": auxiliaries, "regularizer": RegularizerConfig(variance=0.5), **model}
        chosen = dataclasses.replace(small_config.model, weighting=weighting, **changes)
        return JEPAAgent(dataclasses.replace(small_config, model=chosen), "CartPole-v1", seed=0).learn(20)

    return make


def a_batch(agent: JEPAAgent):
    return agent.replay.sample(32, 3, np.random.default_rng(0)).to(agent.device)


def gradients_after_update(agent: JEPAAgent) -> dict[str, torch.Tensor]:
    agent.learner.update(a_batch(agent), rate_share=0.0)
    return {name: p.grad for name, p in agent.model.named_parameters() if p.grad is not None}


def test_learned_weights_begin_at_the_fixed_ones_and_follow_the_losses(agent_of):
    agent = agent_of("uncertainty")
    begin = {name: weight for name, weight in loss_weights(agent.config.model).items() if name != "variance"}
    assert agent.learner.learned_weights() == begin
    assert begin.keys() == LEARNED
    before = agent.model.log_variance.detach().clone()
    figures = agent.learner.update(a_batch(agent), rate_share=1.0)
    losses = {name.removesuffix("_loss"): value for name, value in figures.items() if name.endswith("_loss")}
    # The gradient of c exp(-s) L + s / 2 at s = 0 is 1/2 - c L; Adam's first step is against its sign.
    moved = (agent.model.log_variance.detach() - before).sign()
    expected = [np.sign(begin[name] * losses[name] - 0.5) for name in agent.model.learned_losses]
    assert moved.tolist() == expected
    assert losses["total"] == pytest.approx(
        sum(weight * losses[name] for name, weight in begin.items()) + 0.5 * losses["variance"], rel=1e-5
    )


def test_learned_weights_are_a_part_of_the_gradient_that_is_clipped(agent_of):
    agent = agent_of("uncertainty")
    training = dataclasses.replace(agent.config.training, max_gradient_norm=0.01)
    agent.learner._config = dataclasses.replace(agent.config, training=training)
    figures = agent.learner.update(a_batch(agent), rate_share=1.0)
    norms = {name: norm for name, norm in figures.items() if name.endswith("_gradient_norm")}
    total = norms.pop("total_gradient_norm")
    assert norms["loss_weights_gradient_norm"] == pytest.approx(agent.model.log_variance.grad.norm().item() * total / 0.01)
    assert total == pytest.approx(np.linalg.norm(list(norms.values())), rel=1e-5)
    clipped = [p.grad.norm().item() for p in agent.model.parameters() if p.grad is not None]
    assert np.linalg.norm(clipped) == pytest.approx(0.01, rel=1e-3)


def test_learned_weights_are_saved_and_loaded(agent_of, tmp_path):
    agent = agent_of("uncertainty")
    agent.learn(40)
    agent.save(tmp_path / "a")
    assert JEPAAgent.load(tmp_path / "a").learner.learned_weights() == agent.learner.learned_weights() != {}


def test_without_learned_weights_there_are_none(agent_of):
    agent = agent_of("fixed")
    assert agent.learner.learned_weights() == {}
    assert not any("log_variance" in name for name in agent.model.state_dict())


def test_projected_gradients_reach_the_encoder_and_the_heads_keep_theirs(agent_of):
    """The first step of pcgrad against one that is taken apart by hand, and against fixed weights."""
    agent = agent_of("pcgrad")
    stream, batch = agent.streams.training.get_state(), a_batch(agent)
    found = gradients_after_update(agent)

    generator = torch.Generator()
    generator.set_state(stream)
    config = agent.config.model
    fresh = agent_of("pcgrad")
    terms = loss_terms(fresh.model, fresh.learner.ema, batch, config, discount=0.9, generator=generator)
    weights = loss_weights(config)
    pulls = torch.stack([encoder_gradient(weights[name] * term, fresh.model, retain=True) for name, term in terms.items()])
    orders = [torch.randperm(len(pulls), generator=generator) for _ in pulls]
    expected = project_conflicts(pulls, orders)
    encoder = torch.cat([gradient.flatten() for name, gradient in found.items() if name.startswith("encoder.")])
    others = {name: gradient for name, gradient in found.items() if not name.startswith("encoder.")}
    fixed = gradients_after_update(agent_of("fixed"))
    # Both were clipped to the same norm, so compare up to the factor of the clipping.
    assert torch.cosine_similarity(encoder, expected, dim=0) > 0.999999
    assert not torch.allclose(expected, pulls.sum(0), atol=1e-4)  # there were conflicts to take out
    ratio = {name: (gradient.norm() / fixed[name].norm()).item() for name, gradient in others.items()}
    assert max(ratio.values()) == pytest.approx(min(ratio.values()), rel=1e-3)
    assert all(torch.cosine_similarity(g.flatten(), fixed[name].flatten(), dim=0) > 0.9999 for name, g in others.items())


def test_one_loss_alone_trains_convolutions_as_without_projection():
    """Their memory is channels-last, which a gradient that is put in place must share."""
    small = preset("counting").agent
    encoder = dataclasses.replace(small.model.encoder, convolutions=((4, 8, 8, 0), (4, 3, 2, 1)))
    off = {
        name: dataclasses.replace(getattr(small.model, name), weight=0.0) for name in ("dynamics", "value", "termination")
    }
    training = dataclasses.replace(small.training, starts=16, updates_per_step=0.1, batch_size=4)

    def flat(agent: JEPAAgent) -> torch.Tensor:
        return torch.cat([parameter.detach().flatten().clone() for parameter in agent.model.encoder.parameters()])

    weights = []
    for weighting in ("fixed", "pcgrad"):
        model = dataclasses.replace(small.model, weighting=weighting, encoder=encoder, latent_dim=8, **off)
        config = dataclasses.replace(small, model=model, training=training, n_envs=2)
        agent = JEPAAgent(config, CountingEnv, seed=0)
        begin = flat(agent)
        agent.learn(48)
        assert agent._n_updates == 3
        weights.append(flat(agent))
    assert torch.equal(*weights)
    assert not torch.equal(begin, weights[0])


def test_an_agent_learns_with_each_weighting_and_resumes_exactly(agent_of, tmp_path):
    for weighting in ("uncertainty", "pcgrad"):
        whole = agent_of(weighting)
        whole.learn(20, reset_num_timesteps=False)
        whole.save(tmp_path / "a")
        resumed = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
        for agent in (whole, resumed):
            agent.learn(20, reset_num_timesteps=False)
        one, two = whole.model.state_dict(), resumed.model.state_dict()
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_encoder_has_a_rate_of_its_own_and_all_weights_decay(small_config):
    training = dataclasses.replace(small_config.training, learning_rate=2e-3, encoder_rate=0.25, weight_decay=0.1)
    agent = JEPAAgent(dataclasses.replace(small_config, training=training), "CartPole-v1", seed=0).learn(30)
    agent.learner.update(agent.replay.sample(8, 3, np.random.default_rng(0)), 0.5)
    settings = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in agent.optimizer.param_groups
        for parameter in group["params"]
    }
    assert {settings[id(parameter)] for parameter in agent.model.encoder.parameters()} == {(2e-3 * 0.5 * 0.25, 0.1)}
    assert {settings[id(parameter)] for parameter in agent.model.dynamics.parameters()} == {(2e-3 * 0.5, 0.1)}
