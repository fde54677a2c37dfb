"""Spreads work over the machines of a Ray cluster, or the devices of this one.

In: a plan, a folder of images, a table's trainings or test pairs, and how many workers. Out: what one process would
have made, byte for byte. Ray is an extra, imported where it is used; nothing else in the toolkit knows it.
"""
