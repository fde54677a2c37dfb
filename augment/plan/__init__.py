"""The sampler.

In: tables of images and joints. Out: a table of what is kept, dropped and generated, as `plan.csv`.
"""
