"""The timed simulator: mappings executed in integer cycles."""
