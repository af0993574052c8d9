"""What ``jepa-rl advise`` measures on a finished run, and what it makes of made-up evidence."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, JEPAAgent, TrainingConfig
from jepa_rl.scripts import advise as command
from jepa_rl.scripts.alignment_study.advice import Reading, limits, study_base, suggestions
from jepa_rl.scripts.alignment_study.evidence import Evidence
from jepa_rl.scripts.alignment_study.rows import BESIDE, FREE_ALONE, PLAIN_ALONE
from jepa_rl.scripts.alignment_study.summary import Comparison, Correlation, Effect
from jepa_rl.scripts.cli import run
from jepa_rl.scripts.run_folder import RunFolder
from jepa_rl.world_model import (
    AuxiliaryConfig,
    DynamicsConfig,
    EncoderConfig,
    MaskedConfig,
    ModelConfig,
    RegularizerConfig,
    RewardConfig,
    TerminationConfig,
    ValueConfig,
)
from jepa_rl.world_model.alignment import gradient_alignment

FEW = ("--batches", "2", "--windows", "8", "--updates-between", "0")
PLAIN = DynamicsConfig(target="same")
FREE = DynamicsConfig(target="same", scale_free=True)
NOISY = ModelConfig(
    dynamics=FREE, auxiliaries=(AuxiliaryConfig(target="noise"),), termination=TerminationConfig(trains_encoder=False)
)


def reading(name: str = "noise", **changes) -> Reading:
    known = {"weight": 1.0, "trains_encoder": True, "loss": 1.0, "share": 0.2}
    return Reading(**{"loss_name": name, **known, "cosine": -0.3, "standard_error": 0.1, "batches": 32, **changes})


def evidence(sign: int = 1, harm_share: float = 0.6, pcgrad: float = 0.1) -> Evidence:
    """Findings in which the cosine foretells (1), says nothing (0) or misleads (-1), and noise harms beside the reward."""
    low, high = {1: (0.3, 0.9), 0: (-0.4, 0.6), -1: (-0.9, -0.2)}[sign]
    return Evidence(
        runs=400,
        updates=2_400,
        swing=0.35,
        prediction=tuple(
            Correlation(base=base.slug, rho=(low + high) / 2, low=low, high=high, auxiliaries=12)
            for base in (PLAIN_ALONE, FREE_ALONE, BESIDE)
        ),
        harm=(
            Effect(base="beside", auxiliary="color", weight=10.0, share=0.9, gain=-0.1, apart=True),
            Effect(base="beside", auxiliary="noise", weight=1.0, share=harm_share, gain=-0.2, apart=True),
            Effect(base="free", auxiliary="noise", weight=1.0, share=0.05, gain=-0.2, apart=True),
        ),
        weighting=(
            Comparison(weighting="uncertainty", difference=-0.1, low=-0.2, high=-0.05, better=0, auxiliaries=6),
            Comparison(
                weighting="pcgrad", difference=pcgrad, low=pcgrad - 0.05, high=pcgrad + 0.05, better=5, auxiliaries=6
            ),
        ),
    )


def told(readings, model=NOISY, found=None, progress=0.05) -> str:
    return "\n".join(suggestions(readings, model, found or evidence(), progress))


def advice_of(folder, capsys, *options) -> dict:
    assert run(["advise", str(folder), *FEW, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_measures_the_gradients_of_the_last_checkpoint(counting_run, capsys):
    before = (counting_run / "checkpoint" / "agent.zip").read_bytes()
    found = advice_of(counting_run, capsys)
    assert (found["source"], found["reference"], found["progress"]) == ("replay", "dynamics", 1.0)
    assert found["updates_measured"] == 0
    readings = {each["loss_name"]: each for each in found["readings"]}
    assert set(readings) == {"dynamics", "reward"}
    assert sum(each["share"] for each in readings.values()) == pytest.approx(1)
    assert readings["reward"]["batches"] == 2
    assert readings["reward"]["weight"] == 1.0
    agent = RunFolder.open(counting_run).load_agent(env=True)
    training, rng = agent.config.training, np.random.default_rng(0)
    batches = [agent.replay.sample(8, training.transitions, rng).to(agent.device) for _ in range(2)]
    alone = [
        gradient_alignment(
            *(agent.model, agent.learner.ema, batch, agent.config.model, "reward"),
            discount=agent.config.discount,
            generator=torch.Generator(),
        )
        for batch in batches
    ]
    assert readings["reward"]["cosine"] == pytest.approx(sum(each.cosine for each in alone) / 2, abs=1e-4)
    pulls = [3 * sum(each.dynamics_norm for each in alone), sum(each.auxiliary_norm for each in alone)]
    assert readings["reward"]["share"] == pytest.approx(pulls[1] / sum(pulls), rel=1e-3)
    assert (counting_run / "checkpoint" / "agent.zip").read_bytes() == before


def test_the_table_shows_every_loss_and_where_it_comes_from(counting_run, capsys):
    before = (counting_run / "checkpoint" / "agent.zip").read_bytes()
    assert run(["advise", str(counting_run), *FEW[:-1], "1"]) == 0
    assert (counting_run / "checkpoint" / "agent.zip").read_bytes() == before
    shown = capsys.readouterr().out
    assert "100 % of training, and 1 more of a copy; windows from the run's replay of" in shown
    rows = {line.split()[0]: line for line in shown.splitlines() if line.endswith(("  yes", "  no"))}
    assert set(rows) == {"dynamics", "reward"}
    assert "±" in rows["reward"]
    assert "What this cannot support:" in shown


def test_without_a_replay_transitions_are_collected_and_nothing_is_trained(counting_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "COLLECTED", 64)
    folder = tmp_path / "run"
    shutil.copytree(counting_run, folder)
    whole = RunFolder.open(folder)
    whole.load_agent(env=True).save(whole.checkpoint, exclude={"replay"})
    agent = whole.load_agent(env=True)
    assert not len(agent.replay)
    before = {name: value.clone() for name, value in agent.model.state_dict().items()}
    assert command._fill(agent) == "collected"
    assert 48 <= len(agent.replay) <= 64
    for name, value in agent.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert advice_of(folder, capsys)["source"] == "collected"


def test_learned_weights_are_shown_as_they_are_by_now():
    model = ModelConfig(
        latent_dim=4,
        dynamics=DynamicsConfig(target="same", weight=2.0, hidden=8),
        reward=RewardConfig(weight=3.0, hidden=8),
        termination=TerminationConfig(weight=0.0),
        weighting="uncertainty",
    )
    config = AgentConfig(model=model, training=TrainingConfig(starts=20, batch_size=4))
    agent = JEPAAgent(config, "CartPole-v1", seed=0, device="cpu").learn(40)
    with torch.no_grad():
        agent.model.log_variance[:] = torch.tensor([0.0, 0.5])
    options = {"batches": 3, "windows": 4, "seed": 0}
    found = {each.loss_name: each for each in command.measure(agent, "dynamics", updates_between=0, **options)}
    assert found["dynamics"].weight == pytest.approx(2.0)
    assert found["reward"].weight == pytest.approx(3.0 * torch.tensor(-0.5).exp().item())

    updates = agent._n_updates
    later = {each.loss_name: each for each in command.measure(agent, "dynamics", updates_between=2, **options)}
    assert agent._n_updates == updates + 4  # none before the first batch
    assert later["reward"].cosine != found["reward"].cosine


def test_what_cannot_be_compared_is_refused(tmp_path, capsys):
    silent = TerminationConfig(weight=0.0)
    with pytest.raises(ValueError, match="no task beside its dynamics"):
        command.reference_of(ModelConfig(reward=RewardConfig(weight=0.0), termination=silent))
    with pytest.raises(ValueError, match="neither L_dyn nor masked prediction"):
        command.reference_of(ModelConfig(dynamics=DynamicsConfig(weight=0.0)))
    assert command.reference_of(ModelConfig()) == "dynamics"
    assert run(["advise", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert run(["advise", str(tmp_path), "--batches", "0"]) == 2
    assert "--batches must be at least 1, got 0" in capsys.readouterr().err


def test_suggestions_follow_the_relation_that_the_study_found():
    opposed, unclear = reading(), reading(cosine=-0.15)
    assert "noise opposes L_dyn" in told([opposed])
    assert "gained less" in told([opposed])
    assert "compare with a run without it" in told([opposed])
    assert "opposes" not in told([unclear])
    agreeing = told([reading(cosine=0.3)])
    assert "agrees with L_dyn" in agreeing
    assert "gained more" in agreeing
    assert "without it" not in agreeing
    misleading = told([opposed], found=evidence(sign=-1))
    assert "gained more" in misleading
    assert "without it" not in misleading
    nothing = told([opposed], found=evidence(sign=0))
    assert "did not foretell" in nothing
    assert "opposes" not in nothing


def test_late_cosines_suggest_nothing():
    late = told([reading()], progress=0.5)
    assert "those after 50 % of training" in late
    assert "opposes" not in late


def test_late_shares_suggest_nothing():
    late = told([reading(share=0.8, weight=2.0)], found=evidence(sign=0), progress=0.5)
    assert "shares are those after 50 % of training" in late
    assert "harmed was" not in late
    assert "shares are" not in told([reading(share=0.5)], found=evidence(sign=0), progress=0.5)


def test_the_suggested_weight_gives_the_lightest_share_that_harmed():
    assert study_base(NOISY) is BESIDE
    text = told([reading(share=0.8, weight=2.0)])
    # 0.8 : 0.2 with weight 2 becomes 0.6 : 0.4 with 2 / 4 * 1.5.
    assert "it harmed from 60 % on" in text
    assert "try the weight 0.75 instead of 2" in text
    assert "harmed" not in told([reading(share=0.5)])
    assert "harmed" not in told([reading("reward", share=0.9)])
    plain = dataclasses.replace(NOISY, dynamics=PLAIN)
    assert study_base(plain) is PLAIN_ALONE
    assert "harmed" not in told([reading(share=0.9)], plain)


def test_a_task_is_judged_by_its_own_harm_where_the_study_tried_it():
    """Of colour the study says 90 %, of the count nothing; only a task that it did not try gets the least of all, 60 %."""

    def of(target):
        model = dataclasses.replace(NOISY, auxiliaries=(AuxiliaryConfig(target=target),))
        return told([reading(target, share=0.8)], model)

    assert "harmed" not in of("object_color")
    assert "harmed" not in of("count_number")
    assert "this task was not tried; the lightest pull that harmed was noise's with 60 %" in of("next_features")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"masked": MaskedConfig(weight=1.0), "encoder": EncoderConfig(image_encoder="patches")}, "masked prediction"),
        ({"regularizer": RegularizerConfig(variance=25.0)}, "a regulariser"),
        ({"regularizer": RegularizerConfig(sigreg=0.1)}, "a regulariser"),
        ({"value": ValueConfig(weight=1.0)}, "a value head that trains the encoder"),
        ({"termination": TerminationConfig(weight=1.0)}, "a termination head that trains the encoder"),
        ({"dynamics": dataclasses.replace(FREE, trains_encoder=False)}, "training without L_dyn in the encoder"),
    ],
)
def test_what_the_study_leaves_out_gets_no_suggestion(changes, reason):
    model = dataclasses.replace(NOISY, **changes)
    assert study_base(model) is None
    two = [reading(share=0.9), reading("reward")]
    assert suggestions(two, model, evidence(), 0.05) == (
        f"The study did not try {reason}: nothing is suggested from its findings.",
    )
    assert study_base(dataclasses.replace(NOISY, value=ValueConfig(weight=1.0, trains_encoder=False))) is BESIDE


def test_a_weighting_is_suggested_only_where_it_won():
    two = [reading(cosine=0.0), reading("reward", cosine=0.0)]
    assert "Try model.weighting pcgrad" in told(two)
    assert "Try" not in told(two, found=evidence(pcgrad=0.0))
    assert "Fixed weights may stay" in told(two, found=evidence(pcgrad=0.0))
    learned = dataclasses.replace(NOISY, weighting="uncertainty")
    assert "Try fixed weights: in the study the best one beat uncertainty" in told(two, learned)
    assert "weights" not in told(two[:1])


def test_what_the_figures_alone_say_is_said_too():
    readings = [reading(trains_encoder=False, share=0.0), reading("reward", share=0.004)]
    text = "\n".join(suggestions(readings, NOISY, evidence(), 1.0))
    assert "noise does not train the encoder" in text
    assert "reward has 0.4 % of the gradient" in text
    assert "Nothing trains the encoder" not in text
    assert "Nothing trains the encoder" in "\n".join(suggestions(readings[:1], NOISY, evidence(), 1.0))
    silent = suggestions([reading(cosine=0.0)], NOISY, evidence(), 0.05)
    assert silent == ("Nothing in the study speaks for a change.",)


def test_dynamics_that_the_study_did_not_try_get_no_suggestion():
    ema = dataclasses.replace(NOISY, dynamics=DynamicsConfig(target="ema"))
    assert study_base(ema) is None
    assert "did not try L_dyn with this target" in told([reading()], ema)
    assert "opposes" not in told([reading()], ema)
    alone = dataclasses.replace(NOISY, reward=RewardConfig(trains_encoder=False))
    assert study_base(alone) is FREE_ALONE


def test_the_limits_name_the_swing_and_the_nearest_setting():
    text = "\n".join(limits(evidence(), FREE_ALONE, one_moment=True))
    assert "by 0.35" in text
    assert "'alone, scale-free L_dyn' is the nearest" in text
    assert "one moment" not in "\n".join(limits(evidence(), FREE_ALONE, one_moment=False))
    assert "nearest" not in "\n".join(limits(evidence(), None, one_moment=True))
