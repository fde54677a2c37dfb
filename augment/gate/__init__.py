"""Rejects bad images and draws them anew.

In: images with the poses asked for. Out: verdicts, and the plan as it was carried out.
"""
