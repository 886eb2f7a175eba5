"""What a Python program calls: pictures as it has them, streams frame by frame, whole videos."""
