"""The page, tab by tab: each module draws one and wires it."""
