"""What tables of predictions become: files for other programs, pictures and videos. Nothing is inferred again."""
