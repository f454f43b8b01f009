"""The parts that families of diffusion models share."""
