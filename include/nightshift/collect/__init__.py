"""Store → snapshot: copy out, clean, profile. The only room that reads the contract views.

Everything here is point-in-time: `window.Window` says which rows a night may see, and each query
takes its bounds from there.
"""
