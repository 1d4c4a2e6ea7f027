"""The local web page over embeddings: server-rendered, read only, without scripts."""
