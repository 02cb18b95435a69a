"""Configuration files that autocomp finds through the entry point `autocomp.configs`."""
