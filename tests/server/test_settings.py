"""What people give a server by mistake, and what they are told before anything listens."""

import pytest
from offboard_core import ConfigurationError, InferenceServer


def hold(observation):
    return observation


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"port": "8000"}, "the port is '8000'; expected 0 \\(a free one\\) to 65535"),
        ({"port": -1}, "the port is -1"),
        ({"port": True}, "the port is True"),
        ({"max_sessions": 0}, "max_sessions is 0; expected a number above 0"),
        ({"request_timeout": "5"}, "request_timeout is '5'"),
        ({"ping_interval": float("nan")}, "ping_interval is nan"),
        ({"requets_timeout": 5}, "no setting of a server 'requets_timeout'; did you mean request_timeout"),
        ({"workers": 2}, "there are: allowed_hosts, .*limits.*request_timeout"),
    ],
)
def test_a_setting_that_is_none_is_named(settings, reason):
    with pytest.raises(ConfigurationError, match=reason):
        InferenceServer(hold, **settings)


@pytest.mark.parametrize("name", ["", 1, None])
def test_a_model_has_a_name_that_a_session_can_ask_for(name):
    with pytest.raises(ConfigurationError, match=f"a model is named {name!r}; expected a text"):
        InferenceServer({name: hold})
