"""The demo's data set: garments drawn with known attributes, in FashionAI's layout."""
