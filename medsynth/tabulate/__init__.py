"""The step `tabulate`: a table of images made from class folders, a MedMNIST archive, slices of volumes, or frames."""
