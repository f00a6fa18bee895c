//! What `adit audit` prints, field by field.

use super::roff::Page;

/// The marks of the tables, and the fields of `--json`.
pub(super) fn fields(page: &mut Page) {
    page.indent();
    page.text("In the tables `yes` is allowed, `kill` is what the filters do, an error is what the call came to, and `?` was not seen. The fields of `--json`:");
    for (name, text) in [
        (
            "`pid`, `version`, `sandbox`",
            "Of the supervisor; what the kernel has of seccomp(2) and landlock(7), as in `adit status --json`.",
        ),
        (
            "`findings`",
            "What is wider than it is to be: `pid`, `role`, `what`, `remedy`. Empty where the exit status is 0.",
        ),
        (
            "`unseen`",
            "What this user could not see, or the kernel does not tell: `pid`, `role`, `what`, `reason`.",
        ),
        ("`processes`", "Each behind its parent. Of each:"),
        (
            "`pid`, `parent`, `role`",
            "The role is a name of the list under Processes, `zygote`, `old worker`, or `other`: a program of `exec`, or a process that is about to have a role. These are not judged.",
        ),
        (
            "`uid`, `gid`, `groups`",
            "Real, effective, saved, and of the file system; the supplementary groups.",
        ),
        (
            "`capabilities`",
            "The sets `inheritable`, `permitted`, `effective`, `bounding`, `ambient`, in hexadecimal. The table has how many are in one of the first three or the last (`caps`), and in the bounding set (`bound`).",
        ),
        (
            "`no_new_privs`, `dumpable`",
            "Whether what it executes can gain no rights (`nnp` in the table); whether others of its user may look into its memory (`dump`).",
        ),
        (
            "`seccomp`, `filters`",
            "0: off, 2: filters; how many, since Linux 5.9. Each process has its parents' too.",
        ),
        (
            "`landlock`",
            "Whether it closes the file system. The kernel does not tell: a folder that all may read is opened. `null` where a filter forbids that before.",
        ),
        (
            "`threads`, `threads_differ`",
            "How many, and whether one has other rights than the first.",
        ),
        (
            "`root`, `cwd`, `namespaces`",
            "Its root directory and working directory; the namespaces that are not the supervisor's.",
        ),
        (
            "`descriptors`",
            "How many `listeners`, `sockets` of the network, `unix` sockets, `files`, `pipes`, `epoll` descriptors, pieces of shared `memory`, and `other` ones.",
        ),
        (
            "`trials`",
            "Of each `call` the `answer` (`allowed`, `killed`, or an error's name), whether it is `allowed`, and whether it was `tried`, or read from the filters. `open` is of the folder `/`, `ptrace` and `kill` (with signal 0) of another process of adit, `setuid` to root, `mmap` of memory to be written and executed.",
        ),
    ] {
        page.tagged(name, text);
    }
    page.outdent();
}
