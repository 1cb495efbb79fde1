# Only regular files can have MAP_SYNC.
mmap 0 1000 0 validate|sync dir 0
