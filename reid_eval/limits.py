"""How large a file from a stranger may be, and the numbers in it; checked before memory is taken for them.

The values are a hundred times what the largest public data sets need, and small enough for a machine of 16 GB.
SECURITY.md lists them.
"""

from __future__ import annotations

MOST_PIXELS = 1 << 24
"""Of a picture: 16.8 million."""
MOST_STRETCHED = 10
"""Times that the long side of a picture may be its short side: estimators enlarge pictures by their height."""
MOST_PICTURE_BYTES = 256 << 20
"""Of a picture's file."""
MOST_TABLE_BYTES = 256 << 20
"""Of an annotation file, a plan, a manifest, a list of images: a million rows."""
MOST_UNPACKED_BYTES = 1 << 30
"""Of what a plan in a parquet file unpacks to."""
MOST_SMALL_BYTES = 1 << 20
"""Of thresholds, run files, facts of a drawn data set: one JSON object each."""
MOST_RECIPE_BYTES = 128 << 10
"""Of a YAML file."""
MOST_WEIGHTS_BYTES = 4 << 30
"""Of a file of weights or a checkpoint."""
MOST_ARRAYS_BYTES = 4 << 30
"""Of a file of arrays (`.npz`): the features of a million photos."""
MOST_ARRAYS = 100
"""In it."""
MOST_HEADER_BYTES = 16 << 20
"""Of the JSON header of a safetensors file: a million people and every network's names take less."""
MOST_DEPTH = 32
"""Lists and mappings within each other, in JSON and YAML."""
MOST_NODES = 20_000
"""Values in a YAML file, what an alias stands for counted as often as it stands there."""
LONGEST_NUMBER = 64
"""Characters of one number."""
LARGEST_INTEGER = (1 << 63) - 1
"""What numpy and pandas hold."""
LARGEST_COORDINATE = 1 << 16
"""Pixels, of a joint and of a side: more than JPEG's 65,535."""
MOST_ROWS = 2_000_000
"""Of such a table."""
MOST_COLUMNS = 100
"""Of a CSV file."""
MOST_VALUES = 8_000_000
"""Values in a JSON file: a manifest of two million files."""
LONGEST_LINE = 64 << 10
"""Bytes of a line of a CSV file."""
LONGEST_CELL = 2048
"""Characters of a row's 18 numbers in an annotation file."""
MOST_BATCH = 4096
"""Images of a batch."""
MOST_BATCH_PIXELS = 1 << 28
"""Of a batch: 4096 images of 256x256."""
MOST_HELD_PIXELS = 1 << 26
"""Of photos of any size that are held at a time, each at least one: 200 MB, or 800 MB as float32."""
MOST_STREAM_PIXELS = 1 << 32
"""Of the people that a training on drawn ones has drawn at a time."""
MOST_CELLS = 100_000
"""Of a table: rows times columns times networks times seeds."""
MOST_PLANS = 2000
"""Of a table: rows times columns times plan seeds; each is drawn before the first training."""
MOST_TRIAL_PIXELS = 1 << 22
"""Of a batch of the steps that a dry run's forecast is measured on."""
MOST_SIDE = 2048
"""Pixels: of the images that a network takes."""
LONGEST_IMAGE_NAME = 1024
"""Characters of an image's name or path in a table."""
LONGEST_NAME = 180
"""Bytes of the name of a file to write: file systems take 255, and parts of it are written under longer names."""
LONGEST_MESSAGE = 4000
"""Characters of an error that is printed."""
