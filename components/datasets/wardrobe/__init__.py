"""Generated demo data: drawn garments, written in FashionAI's on-disk layout."""
