"""What can go wrong in `pipeline`, by who caused it.

PipelineError
├── TransportError
│   ├── EndpointInUseError      another process holds the port
│   ├── EndpointError           an address that cannot be used as written
│   └── NotLoopbackError        binding beyond this machine without keys
├── StreamError                 streams of blocks between machines
│   ├── BlockError              the peer's, or damage on the way: bytes that are no block of this stream
│   ├── SpoolError              the folder of a spool cannot be used
│   ├── UnknownCodecError       a codec that is not registered here
│   └── UnknownStreamError      you named a stream that was never added
├── MessageError                messages, sessions and the links they travel
│   ├── UnsendableError         you gave a value that cannot travel; the error names the path to it
│   ├── AddressError            an address or list of hops that cannot be used as written
│   ├── MalformedError          the peer's: bytes that are no message; counted and dropped
│   ├── OutboxFullError         you send faster than the recipient answers
│   ├── DuplicateIdError        another node is connected under this id; the newcomer is refused
│   └── OutcomeError            a message did not end as `done`
│       ├── RemoteError         failed: the listen raised, or there is none
│       │   └── UnroutableError failed: nobody on the way knows the address
│       ├── ExpiredError        it has not run and will not
│       └── UnknownOutcomeError it may have run
└── ClosedError                 you used something after closing it
"""

from __future__ import annotations

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read; text that is no UTF-8 is no `MsgspecError`."""


class PipelineError(Exception):
    """Any error of this package; catch it to catch them all."""


class TransportError(PipelineError):
    """A socket could not be made or used."""


class EndpointInUseError(TransportError, OSError):
    """Another process listens there; stop it or choose another port."""


class EndpointError(TransportError, ValueError):
    """An endpoint that cannot be used as written; correct it."""


class NotLoopbackError(TransportError, PermissionError):
    """Binding beyond this machine needs keys; give them or bind to 127.0.0.1."""


class ClosedError(PipelineError):
    """The object was closed before this call; keep it open as long as it is used."""


class StreamError(PipelineError):
    """A stream of blocks cannot be made, sent or read."""


class BlockError(StreamError, ValueError):
    """Bytes that are no block of this stream: damaged on the way, or made by somebody else; they are not stored."""


class SpoolError(StreamError):
    """A spool's folder cannot be made or read, or another Pilot uses it; name another, or stop that Pilot."""


class UnknownCodecError(StreamError, KeyError):
    """No codec of that name is registered in this process; register it, or name another in the rig file."""

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownStreamError(StreamError, KeyError):
    """The forwarder knows no stream of that name; `add` it first."""

    def __str__(self) -> str:
        return str(self.args[0])


class MessageError(PipelineError):
    """A message could not be made, sent or answered."""


class UnsendableError(MessageError, TypeError):
    """A value that cannot travel in a message; change what stands at the path the error names."""


class AddressError(MessageError, ValueError):
    """An address that cannot be used as written: 1 to 200 bytes of text without NUL."""


class MalformedError(MessageError, ValueError):
    """Bytes from a peer that are no message of ours; the peer is at fault, the message is counted and dropped."""


class OutboxFullError(MessageError):
    """Too many messages wait for an answer; send more slowly, or look at the recipient."""


class DuplicateIdError(MessageError):
    """Another live node is connected under this id; stop it, or start this one under another id."""


class OutcomeError(MessageError):
    """A message did not end as `done`."""


class RemoteError(OutcomeError):
    """The recipient's listen raised, or it has no listen for the key; the text is the recipient's."""


class UnroutableError(RemoteError):
    """No station on the way knows the address; start its node, or correct the address."""


class ExpiredError(OutcomeError, TimeoutError):
    """The message has not run and will not: it never left, or the recipient promised to refuse it."""


class UnknownOutcomeError(OutcomeError, TimeoutError):
    """The recipient restarted or did not answer in time: the message may have run; ask for its state."""


class ClockDomainError(PipelineError, TypeError):
    """Times of different clocks were compared or subtracted, or no probes relate them."""
