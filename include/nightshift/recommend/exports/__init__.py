"""A stored model as a folder that ranks without the lake: smaller, or for another runtime."""
