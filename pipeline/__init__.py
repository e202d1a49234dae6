"""Messages, sessions, nodes, notifications and streams over the wire."""
