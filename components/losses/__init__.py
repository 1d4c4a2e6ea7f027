"""The losses; torch only."""
