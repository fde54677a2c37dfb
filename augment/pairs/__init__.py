"""Training pairs.

In: a folder, a list or the synthetic stream. Out: batches of two images of one person with joints.
"""
