"""The night's report: `report.json` with every figure, and a page that a person looks at.

`stage.run` writes both, `page.render` makes the page from the figures alone, `summary` prints the
table at the end of a run. Nothing learns from what is written here.
"""
