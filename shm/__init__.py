"""Shared-memory rings: one writer, many readers, any process."""
