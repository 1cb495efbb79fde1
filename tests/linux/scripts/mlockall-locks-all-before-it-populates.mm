# mlockall locks every region before it populates one: the two have joined by then, and get one identity.
mmap T-23000 1000 r|w private|fixed|anon none 0
mlockall current
mlockall current|onfault
mmap T-25000 2000 r|w private|fixed|anon none 0
mlockall current
