"""What hemline is made of; `pipelines` puts it to work."""
