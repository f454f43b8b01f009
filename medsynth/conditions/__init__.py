"""What an image is asked for by."""
