"""The review page and its server: what to look at first, what it looks and sounds like, what a person decides."""
