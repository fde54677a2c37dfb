"""Procedural pedestrians: people without end, in any number of cameras, with exact joints and masks."""
