mmap 0 1000 w shared|growsdown sealed 0
