"""The demo's data: garments drawn with known attributes, in FashionAI's layout, and as products."""
