"""Person re-identification on any folder: data sets, backbones, training, Market-protocol metrics.

Nothing heavy is loaded here; import what you need from `reid_eval.datasets`, `reid_eval.ranking`,
`reid_eval.backbones`, `reid_eval.train`, `reid_eval.features` and `reid_eval.harness`.
"""
