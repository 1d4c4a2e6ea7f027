"""Versions of the model: their package, card, aliases, and which of them is champion."""
