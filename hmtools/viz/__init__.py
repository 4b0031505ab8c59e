"""Records for human eyes: marks drawn over images, and self-contained pages."""
