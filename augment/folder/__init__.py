"""Carries a plan out.

In: data set, keypoints, plan, generator. Out: an augmented folder with plan and manifest.
"""
