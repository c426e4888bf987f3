"""What executes mappings: the judge of the engine, with which it shares no counting code."""
