"""A whole host in one file, to be looked at elsewhere: `pyctr capture` writes it, `pyctr-tui --replay` reads it.

    collect ──> what every screen reads, as {name: bytes}, again and again ─┐
    answers ──> what screens ask the kernel or the disk, as one document    ├─> redact ─> archive.write ─> FILE
    manifest ─> whose, when, how long, what was left out                   ─┘
    FILE ─> archive.read ─> moments.Recording ─> moments.Stage: files below a directory ─> the ordinary readers

A recording is a list of moments. The first has all files, each further one those that changed and those that went.
Names begin with root/ run/ cgroup/ proc/ or sys/, the roots of `Paths`; a name that ends with @ is a symbolic link.
The archive is a gzip'ed tar:

    manifest.json           first
    0/proc/stat  0/root/containers/<id>/state.json  0/answers.json  ...
    1/proc/stat  ...        what had changed by then

The snapshot tests' recorded host is the same list of moments as one JSON document.
"""
