"""PoseNet, the estimator that ships: network, training on drawn people, weights.

In: a seed (training), or images of one person each (finding). Out: a weights file, or joints and how sure they are.
"""
