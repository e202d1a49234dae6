"""Messages, sessions, nodes, notifications and streams over the wire."""

from .arrays import PackedArray, deserialize_array, serialize_array
from .errors import (
    AddressError,
    ClosedError,
    DuplicateIdError,
    EndpointInUseError,
    ExpiredError,
    MalformedError,
    MessageError,
    OutboxFullError,
    OutcomeError,
    PipelineError,
    RemoteError,
    TransportError,
    UnknownOutcomeError,
    UnroutableError,
    UnsendableError,
)
from .hub import Hub, Listen
from .hub_counts import HubStatistics
from .message import Message
from .node import NetNode
from .outbox import Patience
from .peers import Pace, PeerInfo, PeerState
from .receipt import Receipt

__all__ = [
    "AddressError",
    "ClosedError",
    "DuplicateIdError",
    "EndpointInUseError",
    "ExpiredError",
    "Hub",
    "HubStatistics",
    "Listen",
    "MalformedError",
    "Message",
    "MessageError",
    "NetNode",
    "OutboxFullError",
    "OutcomeError",
    "Pace",
    "PackedArray",
    "Patience",
    "PeerInfo",
    "PeerState",
    "PipelineError",
    "Receipt",
    "RemoteError",
    "TransportError",
    "UnknownOutcomeError",
    "UnroutableError",
    "UnsendableError",
    "deserialize_array",
    "serialize_array",
]
