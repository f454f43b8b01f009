"""The command `init`: a table of images becomes a commented configuration that runs."""
