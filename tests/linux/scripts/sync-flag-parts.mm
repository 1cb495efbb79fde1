# MAP_SYNC on anonymous memory does nothing, but such a region merges only with its like.
mmap T-7000 4000 rw private|fixed|anon none 0
mmap 0 4000 rw private|anon|sync none 0
