"""What can go wrong in `pipeline`, by who caused it.

PipelineError
├── TransportError
│   ├── EndpointInUseError      another process holds the port
│   ├── EndpointError           an address that cannot be used as written
│   └── NotLoopbackError        binding beyond this machine without keys
├── StreamError                 streams of blocks between machines
│   ├── BlockError              the peer's, or damage on the way: bytes that are no block of this stream
│   ├── UnknownCodecError       a codec that is not registered here
│   └── UnknownStreamError      you named a stream that was never added
└── ClosedError                 you used something after closing it
"""

from __future__ import annotations


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


class UnknownCodecError(StreamError, KeyError):
    """No codec of that name is registered in this process; register it, or name another in the rig file."""

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownStreamError(StreamError, KeyError):
    """The forwarder knows no stream of that name; `add` it first."""

    def __str__(self) -> str:
        return str(self.args[0])
