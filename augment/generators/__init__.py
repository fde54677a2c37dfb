"""Networks that move a person into another pose.

In: photo, its joints, target joints. Out: the image; weights files.
"""
