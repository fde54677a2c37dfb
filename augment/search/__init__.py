"""Pose-normalised features: every person also seen in the same few poses, in front of any re-ID network.

In: a network that turns images into features, a generator, photos with joints. Out: features to search with.
"""
