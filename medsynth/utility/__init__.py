"""The step `utility`: what the samples are worth to a classifier, against the same effort without them."""
