"""Pictures of what was learned: maps, curves, videos."""
