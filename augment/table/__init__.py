"""The grid of re-ID trainings.

In: a table recipe. Out: folders, records, the printed table.
"""
