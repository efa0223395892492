"""The operator's environment: what it means, and what is said of one that means nothing."""

import pytest
from pancar_operator.model import Key
from pancar_operator.settings import Address, Settings, SettingsError
from pancar_operator.specs import Deployment

LEAST = {
    "PANCAR_NAMESPACE": "pancar",
    "PANCAR_IDENTITY": "pancar-operator-7d4b9-x2x7q",
    "PANCAR_RELAY_IMAGE": "example.org/pancar-relay:1.0",
    "PANCAR_RELAY_CONTROL": "pancar-operator.pancar.svc:8443",
    "PANCAR_RELAY_ENROL": "pancar-operator.pancar.svc:8444",
}


def test_the_least_environment_gets_the_rest_by_default() -> None:
    assert Settings.from_environment(LEAST) == Settings(
        namespace="pancar",
        identity="pancar-operator-7d4b9-x2x7q",
        attach_listen=Address("::", 8443),
        enrol_listen=Address("::", 8444),
        health_listen=Address("::", 8081),
        deployment=Deployment(
            image="example.org/pancar-relay:1.0",
            pull_policy="IfNotPresent",
            control="pancar-operator.pancar.svc:8443",
            enrol="pancar-operator.pancar.svc:8444",
        ),
        default_pool=Key("pancar", "default"),
        log_format="console",
    )


def test_everything_can_be_said() -> None:
    settings = Settings.from_environment(
        LEAST
        | {
            "PANCAR_LISTEN": "[2001:db8::1]:9443",
            "PANCAR_ENROL_LISTEN": "127.0.0.1:0",
            "PANCAR_HEALTH_LISTEN": "",
            "PANCAR_RELAY_PULL_POLICY": "Never",
            "PANCAR_RELAY_TURN_URLS": "turn:turn.example.org",
            "PANCAR_RELAY_TURN_SECRET": "turn",
            "PANCAR_RELAY_CORS_ORIGINS": "*",
            "PANCAR_DEFAULT_POOL": "city/west",
            "PANCAR_LOG_FORMAT": "json",
        }
    )
    assert (str(settings.attach_listen), str(settings.enrol_listen)) == ("[2001:db8::1]:9443", "127.0.0.1:0")
    assert settings.health_listen.port == 8081
    assert settings.deployment.pull_policy == "Never"
    deployment = settings.deployment
    assert (deployment.turn_urls, deployment.turn_secret) == ("turn:turn.example.org", "turn")
    assert deployment.cors_origins == "*"
    assert settings.default_pool == Key("city", "west")
    assert settings.log_format == "json"


@pytest.mark.parametrize("name", LEAST)
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_environment({key: value for key, value in LEAST.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PANCAR_LISTEN", "8443"),
        ("PANCAR_LISTEN", "operator:8443"),
        ("PANCAR_LISTEN", "[127.0.0.1]:8443"),
        ("PANCAR_ENROL_LISTEN", "0.0.0.0:http"),
        ("PANCAR_HEALTH_LISTEN", "0.0.0.0:70000"),
        ("PANCAR_RELAY_CONTROL", "pancar-operator"),
        ("PANCAR_RELAY_CONTROL", "https://pancar-operator:8443"),
        ("PANCAR_RELAY_ENROL", "pancar-operator:0"),
        ("PANCAR_RELAY_PULL_POLICY", "Sometimes"),
        ("PANCAR_DEFAULT_POOL", "west"),
        ("PANCAR_DEFAULT_POOL", "a/b/c"),
        ("PANCAR_LOG_FORMAT", "xml"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment(LEAST | {name: value})
