"""What was kept by earlier versions, read with today's settings."""

import dataclasses
import json

from jepa_rl.agent import AgentConfig, preset
from jepa_rl.scripts.earlier_preset import BEFORE_NOVELTY
from jepa_rl.scripts.kept_cells import changed_settings, todays_form
from jepa_rl.scripts.train import overridden
from jepa_rl.world_model import EncoderConfig, ModelConfig, ValueConfig

TODAY = json.loads(json.dumps(dataclasses.asdict(AgentConfig())))


def test_settings_of_an_agent_that_came_later_are_at_their_defaults_wherever_it_stands():
    older = json.loads(json.dumps(TODAY))
    del older["model"]["weighting"]
    kept = {"name": "a", "agent": older, "settings": {"preset": "minigrid", "agent": older}, "first_half": older}
    assert todays_form(kept) == {
        "name": "a",
        "agent": TODAY,
        "settings": {"preset": "minigrid", "agent": TODAY},
        "first_half": TODAY,
    }


def test_settings_that_are_no_more_are_left_out_where_they_had_no_effect():
    older = TODAY | {"exploration": TODAY["exploration"] | {"novelty_discount": 0.95}}
    assert todays_form({"agent": older}) == {"agent": TODAY}
    sought = older | {"exploration": older["exploration"] | {"kind": "novelty"}}
    assert todays_form({"agent": sought}) == {"agent": sought}


def test_changed_settings_are_the_options_that_bring_the_kept_ones_back():
    today = AgentConfig(model=ModelConfig(value=ValueConfig(novelty=0.25), encoder=EncoderConfig(hidden=(8,))))
    assert changed_settings(json.loads(json.dumps(dataclasses.asdict(today))), today) == []
    older = json.loads(json.dumps(TODAY))
    del older["model"]["value"]["novelty"]  # of before there was one
    assert changed_settings(older, today) == ["--model.encoder.hidden", "--model.value.novelty 0"]
    own = preset("minigrid").agent
    before = changed_settings(dataclasses.asdict(overridden(own, BEFORE_NOVELTY)), own)
    assert overridden(own, [word for option in before for word in option.split()]) == overridden(own, BEFORE_NOVELTY)


def test_what_is_no_configuration_stays_as_it_is():
    for kept in ({"agent": None}, {"agent": "ppo", "seed": 1}, {"seed": [1, 2]}):
        assert todays_form(kept) == kept
