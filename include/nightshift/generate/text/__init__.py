"""Words in and out: cleaning before a prompt, templates, strict reading behind it, synonyms."""
