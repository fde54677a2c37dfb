"""PATN (Zhu et al., CVPR 2019): networks, losses, training.

In: batches of pairs (`batch.PairSource`), `settings.PATNTrainSettings`. Out: a trained generator's weights and a log.
"""
