"""Messages, sessions, nodes, notifications and streams over the wire."""

from .arrays import PackedArray, deserialize_array, serialize_array
from .async_notices import AsyncNotices
from .block import Block, BlockFlag, BlockHeader
from .codec import codec_names, codec_of, register_codec
from .errors import (
    AddressError,
    BlockError,
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
    StreamError,
    TransportError,
    UnknownCodecError,
    UnknownOutcomeError,
    UnknownStreamError,
    UnroutableError,
    UnsendableError,
)
from .forward import Forwarder, ForwardReport
from .hub import Hub
from .hub_counts import HubStatistics
from .ingest import Ingest, IngestReport
from .listening import Listen
from .message import Message
from .message_stream import MessageStream, StreamStatistics
from .node import NetNode
from .notify import Notices, NoticeWaiter, Notifier
from .outbox import Patience
from .peers import Pace, PeerInfo, PeerState
from .receipt import Receipt
from .stream_reader import StreamReader, StreamReaderStatistics
from .stream_spec import ClockStamp, StreamSpec, block_items_for
from .transport import Context

__all__ = [
    "AddressError",
    "AsyncNotices",
    "Block",
    "BlockError",
    "BlockFlag",
    "BlockHeader",
    "ClockStamp",
    "ClosedError",
    "Context",
    "DuplicateIdError",
    "EndpointInUseError",
    "ExpiredError",
    "ForwardReport",
    "Forwarder",
    "Hub",
    "HubStatistics",
    "Ingest",
    "IngestReport",
    "Listen",
    "MalformedError",
    "Message",
    "MessageError",
    "MessageStream",
    "NetNode",
    "NoticeWaiter",
    "Notices",
    "Notifier",
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
    "StreamError",
    "StreamReader",
    "StreamReaderStatistics",
    "StreamSpec",
    "StreamStatistics",
    "TransportError",
    "UnknownCodecError",
    "UnknownOutcomeError",
    "UnknownStreamError",
    "UnroutableError",
    "UnsendableError",
    "block_items_for",
    "codec_names",
    "codec_of",
    "deserialize_array",
    "register_codec",
    "serialize_array",
]
