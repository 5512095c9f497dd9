"""From a graph to the calls of kernels: simplify, settle, fuse, lower, schedule, place, drive."""
