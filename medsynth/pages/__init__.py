"""HTML pages that show a run: one template of plain HTML, CSS and JavaScript beside the module that fills it."""
