"""Where the people of a frame are: one module per detector, found by its name."""
