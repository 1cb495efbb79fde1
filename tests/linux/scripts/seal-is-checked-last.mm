# A write-sealed memfd is refused only after all else.
mmap 0 1000 w shared|growsdown sealed 0
