"""The transports that a bench puts side by side, a file each."""
