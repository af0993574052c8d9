"""What was kept by earlier versions, read with today's settings."""

import dataclasses
import json

from jepa_rl.agent import AgentConfig
from jepa_rl.agent.config import completed


def test_settings_that_are_no_more_are_left_out_of_what_was_kept_where_they_had_no_effect():
    today = json.loads(json.dumps(dataclasses.asdict(AgentConfig())))
    older = today | {"exploration": today["exploration"] | {"novelty_discount": 0.95}}
    assert json.loads(json.dumps(completed(older))) == today
    sought = older | {"exploration": older["exploration"] | {"kind": "novelty"}}
    assert completed(sought) == sought
    assert completed("no configuration") == "no configuration"
