"""The first hour with a folder of one's own: what it is, what the weights make of it, a training on it.

In: a folder as somebody has it. Out: facts with the next command, a picture of all weights side by side, weights of
its own with figures of people held out.
"""
