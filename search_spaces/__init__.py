"""The configuration tree that `autocomp search` composes; one YAML file per choice, each key explained where it stands."""
