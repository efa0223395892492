"""What people may add to the pods of a RelayPool's relays; part of `model`, laid out as in a Deployment's template."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pancar_operator.rules import schema
from pancar_operator.values import DnsName, Integer, LabelKey, LabelValue, Quantity, ResourceName


class TolerationOperator(StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


@schema
class Toleration:
    """A taint of nodes on which relays may run all the same."""

    key: Annotated[LabelKey | None, Field(description="Key of the taint; every taint where absent.")] = None
    operator: Annotated[
        TolerationOperator,
        Field(description="Equal compares the taint's value too; Exists does not."),
    ] = TolerationOperator.EQUAL
    value: Annotated[LabelValue | None, Field(description="Value of the taint, with the operator Equal.")] = None
    effect: Annotated[TaintEffect | None, Field(description="Effect of the taint; every effect where absent.")] = None
    toleration_seconds: Annotated[
        Integer | None,
        Field(ge=0, le=86_400, description="How long a NoExecute taint is tolerated; for ever where absent."),
    ] = None


@schema
class Resources:
    """Amounts of cpu, memory and the like."""

    requests: dict[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="What is set aside, as cpu: 500m or memory: 1Gi."
    )
    limits: dict[ResourceName, Quantity] = Field(
        default_factory=dict, max_length=16, description="The most it may use."
    )


@schema
class PodMetadata:
    """What the pods' metadata has beyond what the operator sets."""

    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=64, description="Labels beside those that the operator sets."
    )
    annotations: dict[LabelKey, Annotated[str, Field(max_length=4096)]] = Field(
        default_factory=dict, max_length=64, description="Annotations, as for a network attachment."
    )


@schema
class PodSpec:
    """What the pods' spec has beyond what the operator sets."""

    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=64, description="Labels of the nodes that relays may run on."
    )
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(max_length=32, description="Taints of nodes on which relays may run all the same."),
    ] = ()
    affinity: dict[str, object] = Field(default_factory=dict, description="As in any pod's spec.affinity.")
    topology_spread_constraints: Annotated[
        tuple[dict[str, object], ...],
        Field(max_length=8, description="As in any pod's spec.topologySpreadConstraints."),
    ] = ()
    priority_class_name: Annotated[
        DnsName | None, Field(description="PriorityClass of the pods, so that relays are the last to be evicted.")
    ] = None
    resources: Annotated[Resources, Field(description="What a relay's container asks for and may use at most.")] = (
        Resources()
    )


@schema
class PodTemplate:
    """Overrides of the relays' pods, laid out as in a Deployment's template."""

    metadata: Annotated[PodMetadata, Field(description="Labels and annotations of the relays' pods.")] = PodMetadata()
    spec: Annotated[PodSpec, Field(description="Where the relays' pods run, and with what.")] = PodSpec()
