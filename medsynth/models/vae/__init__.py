"""The networks of variational autoencoders."""
