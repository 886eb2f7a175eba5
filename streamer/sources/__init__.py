"""Sources: files, pictures, cameras and streams, as frames with exact times."""
