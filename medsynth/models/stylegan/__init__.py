"""The networks of a style-based GAN."""
