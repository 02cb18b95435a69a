"""autocomp makes trained networks small and fast for one given piece of hardware."""

__version__ = "0.1.0"
