# MADV_POPULATE_READ needs PROT_READ itself, not what the hardware lets read.
mmap A+b000 1000 x shared|fixed|nonblock rw 0
madvise A+b000 1000 populate_read
