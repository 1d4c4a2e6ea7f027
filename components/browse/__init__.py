"""The local web page over embedded catalogues: server-rendered, read only, without scripts."""
