"""What can go wrong with an export.

StationError
└── BadInputError
    └── ExportError     what you asked for cannot be exported so (bad input)
"""

from __future__ import annotations

from stations.errors import BadInputError


class ExportError(BadInputError):
    """You asked for what the format cannot hold, a stream that is not there, or an output that is; ask otherwise."""
