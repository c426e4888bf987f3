"""The part of the timed simulator that is compiled: plain loops over two arrays of integers, read and changed."""
