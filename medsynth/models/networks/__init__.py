"""Networks for images and volumes: `spatial_dims` is an argument."""
