"""Static search for code that, jumped to, serves an application against the OS."""
