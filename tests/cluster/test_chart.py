"""The chart as Helm sees it, without a cluster."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pancar_operator import keys, leader
from pancar_operator.model import Key
from pancar_operator.settings import Settings
from rigs import chart
from rigs.cluster import build
from rigs.cluster.helm import OLDEST, Helm, HelmError, values

SCHEMA = json.loads((chart.CHART / "values.schema.json").read_text())

Rendered = dict[tuple[str, str], dict[str, Any]]
Render = Callable[..., Rendered]


@pytest.fixture
def helm(tmp_path: Path) -> Helm:
    if not build.built():
        pytest.skip("`make cluster` has not built helm yet")
    return Helm(tmp_path)


@pytest.fixture
def render(helm: Helm) -> Render:
    """The chart's objects by kind and name, with values as `--set` takes them."""

    def rendered(*settings: str, release: str = "pancar") -> Rendered:
        printed = helm("template", release, OLDEST, "--namespace=cctv", chart.CHART, *values(settings))
        return {(body["kind"], body["metadata"]["name"]): body for body in yaml.safe_load_all(printed) if body}

    return rendered


def operator(rendered: Rendered) -> dict[str, Any]:
    """The pod's spec."""
    spec: dict[str, Any] = rendered["Deployment", "pancar-operator"]["spec"]["template"]["spec"]
    return spec


def environment(pod: Mapping[str, Any]) -> dict[str, str]:
    """As the kubelet would make it, for the pod pancar-operator-x in the namespace cctv."""
    fields = {"metadata.namespace": "cctv", "metadata.name": "pancar-operator-x"}
    return {
        one["name"]: one["value"] if "value" in one else fields[one["valueFrom"]["fieldRef"]["fieldPath"]]
        for one in pod["containers"][0]["env"]
    }


def test_lint_finds_nothing(helm: Helm) -> None:
    helm("lint", "--strict", chart.CHART)


def test_crds_come_as_they_are_read_here(render: Render) -> None:
    crds = [body for (kind, _), body in render().items() if kind == "CustomResourceDefinition"]
    assert {crd["spec"]["names"]["kind"]: crd for crd in crds} == chart.crds()


def test_crds_stay_out_where_they_are_not_wanted(render: Render) -> None:
    assert not any(kind == "CustomResourceDefinition" for kind, _ in render("crds.install=false"))


@pytest.mark.parametrize(
    "wrong",
    [
        "crds.instal=true",
        "crds.install=perhaps",
        "operator=none",
        "operator.replicas=0",
        "operator.defaultPool=city",
        "operator.image.tag=a b",
        "relay.image.pullPolicy=Sometimes",
        "rbac.aggregate=some",
    ],
)
def test_values_that_mean_nothing_are_refused(render: Render, wrong: str) -> None:
    with pytest.raises(HelmError, match="schema"):
        render(wrong)


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every value that the schema knows, by its path, with references followed."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    for name, field in schema.get("properties", {}).items():
        yield f"{path}{name}", field
        yield from fields(field, f"{path}{name}.")


def test_every_value_is_described_and_has_its_default() -> None:
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    described = dict(fields(SCHEMA))
    for path, field in described.items():
        assert field.get("description", "").endswith("."), path
        block = defaults
        for name in path.split(".") if path != "global" else ():
            assert name in block, f"{path} is not in values.yaml"
            block = block[name]
    assert len(described) > 20


def test_the_operator_is_told_what_it_asks_for(render: Render) -> None:
    settings = Settings.from_environment(environment(operator(render())))
    assert settings.namespace == "cctv"
    assert settings.identity == "pancar-operator-x"
    assert settings.default_pool == Key("cctv", "default")
    assert settings.log_format == "json"
    assert settings.deployment.image == "pancar-relay:0.1.0"
    assert settings.deployment.pull_policy == "IfNotPresent"
    other = environment(
        operator(
            render(
                "operator.defaultPool=media/city",
                "relay.image.repository=mirror.example/relay",
                "relay.image.tag=v2",
                "relay.image.pullPolicy=Never",
            )
        )
    )
    settings = Settings.from_environment(other)
    assert settings.default_pool == Key("media", "city")
    assert (settings.deployment.image, settings.deployment.pull_policy) == ("mirror.example/relay:v2", "Never")


def test_relays_dial_a_port_that_the_service_has_and_the_operator_listens_on(render: Render) -> None:
    rendered = render()
    pod = operator(rendered)
    settings = Settings.from_environment(environment(pod))
    service = rendered["Service", "pancar-operator"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    for target, listen in (
        (settings.deployment.control, settings.attach_listen),
        (settings.deployment.enrol, settings.enrol_listen),
    ):
        host, _, number = target.rpartition(":")
        assert host == "pancar-operator.cctv.svc"
        (port,) = (port for port in service["spec"]["ports"] if port["port"] == int(number))
        assert ports[port["targetPort"]] == listen.port
    assert ports["health"] == settings.health_listen.port
    labels = rendered["Deployment", "pancar-operator"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_the_operator_runs_as_nobody_with_nothing_to_write_to(render: Render) -> None:
    pod = operator(render())
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 10_000
    container = pod["containers"][0]["securityContext"]
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_labels_of_ones_own_do_not_hide_the_pods_from_their_service(render: Render) -> None:
    rendered = render("operator.podLabels.team=cctv", r"operator.podLabels.app\.kubernetes\.io/name=other")
    labels = rendered["Deployment", "pancar-operator"]["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "cctv"
    assert rendered["Service", "pancar-operator"]["spec"]["selector"].items() <= labels.items()


def test_the_operators_own_objects_are_those_its_role_names(render: Render) -> None:
    rules = render()["Role", "pancar-operator"]["rules"]
    named = {name for rule in rules for name in rule.get("resourceNames", ())}
    assert named == {leader.LEASE, keys.AUTHORITY, keys.SIGNING_KEY}


def test_the_operator_may_write_no_spec_and_read_no_secret_by_name(render: Render) -> None:
    rules = render()["ClusterRole", "pancar-operator-cctv"]["rules"]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert not {one for one in granted if "*" in one}
    assert {verb for resource, verb in granted if resource in ("cameras", "relaypools")} == {"get", "list", "watch"}
    assert {verb for resource, verb in granted if resource == "secrets"} == {"list", "watch"}


def test_two_releases_have_no_name_in_common(helm: Helm, render: Render) -> None:
    first = render("crds.install=false")
    second = render("crds.install=false", release="harbour")
    assert not first.keys() & second.keys()
    assert ("Deployment", "harbour-pancar-operator") in second


def test_one_replica_has_no_disruption_budget_that_would_block_its_node(render: Render) -> None:
    assert ("PodDisruptionBudget", "pancar-operator") in render()
    assert ("PodDisruptionBudget", "pancar-operator") not in render("operator.replicas=1")


def test_people_gain_cameras_and_no_pools_unless_they_gain_nothing(render: Render) -> None:
    rendered = render()
    rules = rendered["ClusterRole", "pancar-edit-cctv"]["rules"]
    assert [rule["resources"] for rule in rules] == [["cameras"]]
    without = render("rbac.aggregate=false")
    gone = {name for kind, name in rendered.keys() - without.keys()}
    assert gone == {"pancar-view-cctv", "pancar-edit-cctv"}
    assert not any(re.search("aggregate-to", json.dumps(body)) for body in without.values())
