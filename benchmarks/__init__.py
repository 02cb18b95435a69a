"""Speed and quality figures; `make bench` writes them to results/ as JSON."""
