"""samples → accepted, quarantined: row checks, batch gates, Data Docs."""
