"""Joints from images.

In: a data set and an estimator. Out: an annotation file.
"""
