"""What the machine offers: devices, GPUs, processes."""
