"""The step `tabulate`: a table of images made from folders by class, a MedMNIST archive, or slices of volumes."""
