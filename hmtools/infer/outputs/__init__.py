"""What tables of predictions become: files for other programs, pictures, videos."""
