"""Containers of other engines on this host, found without asking any of them.

    groups     the cgroup tree: which groups are containers'          ─┐
    processes  /proc: shims, conmons, monitors, daemons and what they  ├─> finder.Finder.look() -> Foreign, Foreign, ...
               were started with                                       │
    docker podman containerd crio lxc nspawn                           │
               what each engine has on disk about its containers      ─┘

Nothing here talks to a daemon, starts a program or writes: all of it works as long as the kernel answers, whatever
state the engines are in. What is running is the kernel's word alone; names, images and ports are the engine's record.
Everything is read below `Paths.proc`, `.cgroup_root` and `.host`, so a recorded tree gives the containers it had.
What these records say is text of strangers: faces neutralise it as they do a log.
"""
