"""What the renderer of a drawn data set can show beside a photo, and no generator: the truth."""
