"""One HTML page about a result, which opens from disk without a network.

In: an augmented folder, a training, a re-ID run, or a table. Out: a file, with a folder of pictures beside it where
they are many.
"""
