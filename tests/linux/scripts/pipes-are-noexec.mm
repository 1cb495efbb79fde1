# Pipes never execute: EPERM comes before ENODEV.
mmap A+df000 1000 x shared|noreplace|200000 pipe 0
