# A fixed address in the last page is handed out as if it were an errno: here -EBUSY.
mmap fffffffffffffff0 1000 0 fixed|anon none 0
