"""Drawn pedestrians.

In: a seed. Out: data sets and an endless stream, with exact joints and masks.
"""
