"""What several strategies share; each of these is a `Strategy` that lacks its substance."""
