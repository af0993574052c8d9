"""What was kept by earlier versions, read with today's settings."""

import dataclasses
import json

from jepa_rl.agent import AgentConfig
from jepa_rl.scripts.kept_cells import todays_form

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


def test_what_is_no_configuration_stays_as_it_is():
    for kept in ({"agent": None}, {"agent": "ppo", "seed": 1}, {"seed": [1, 2]}):
        assert todays_form(kept) == kept
