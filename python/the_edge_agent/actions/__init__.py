"""Built-in actions of YAML agents."""
