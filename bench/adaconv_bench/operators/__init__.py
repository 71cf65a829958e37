"""One module per operator, named after its stem: its presets and its providers."""
