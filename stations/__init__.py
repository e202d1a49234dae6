"""Stations, sources, sinks and their supervision."""
