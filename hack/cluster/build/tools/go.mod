module parley.dev/tools

go 1.24.0
