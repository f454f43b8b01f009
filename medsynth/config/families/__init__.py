"""One module a model family: what it is trained and sampled by."""
