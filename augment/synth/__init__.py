"""Drawn pedestrians: jointed 3-D bodies in clothes, walking past cameras; nobody's photographs.

In: a seed, and how many people, images and cameras. Out: a data set in Market-1501's layout (`dataset`), or an endless
stream of tensors (`stream`), with exact joints and masks; the same seed draws the same people everywhere. `again` draws
the people of a data set once more, in other poses or without their background.
"""
