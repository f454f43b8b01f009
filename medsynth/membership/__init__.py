"""The step `membership`: whether the model tells its training images from held-out ones, and whether it would show."""
