"""What can go wrong in `pipeline`, by who caused it.

PipelineError
├── TransportError
│   ├── EndpointInUseError      another process holds the port
│   ├── EndpointError           an address that cannot be used as written
│   └── NotLoopbackError        binding beyond this machine without keys
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
