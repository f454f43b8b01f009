"""The step `gates`."""
