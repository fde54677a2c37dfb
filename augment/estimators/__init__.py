"""Joints from images: estimators behind one protocol, and how well a pose agrees with an image.

In: an estimator's name, and images of one person each, or a folder of them. Out: joints and scores, or an annotation
file. `base` is the protocol, `build` knows the names, `estimate` does folders, `posenet` is the one that ships.
"""
