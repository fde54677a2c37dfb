"""How good generated images are.

In: images, poses, truth where there is one. Out: figures, sheets, plots.
"""
