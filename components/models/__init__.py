"""The networks; torch and torchvision only."""
