# Become argv[0], executed from a read-only copy of its mount that nobody else can reach.
#
# Whatever opens /proc/PID/exe of such a process, or of what it forks, gets the file through that mount and can never
# write to it (CVE-2019-5736). Where the kernel or our rights do not allow that, argv[0] is executed as it is.
    .intel_syntax noprefix
    .set base, 0x400000
file:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .skip 8
    .short 2, 62
    .long 1
    .quad base + start - file, program - file, 0
    .long 0
    .short 64, 56, 1, 0, 0, 0
program:
    .long 1, 5
    .quad 0, base, base, end - file, end - file, 0x1000

start:
    mov rax, [rsp]
    lea r13, [rsp + 8]          # argv
    lea r14, [r13 + 8 * rax + 8] # envp
    mov edi, -100               # open_tree(AT_FDCWD, argv[0], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
    mov rsi, [r13]
    mov edx, 0x80001
    mov eax, 428
    syscall
    test eax, eax
    js plain
    mov ebx, eax
    mov edi, eax                # mount_setattr(tree, "", AT_EMPTY_PATH, {MOUNT_ATTR_RDONLY}, 32)
    lea rsi, [rip + empty]
    mov edx, 0x1000
    lea r10, [rip + attributes]
    mov r8d, 32
    mov eax, 442
    syscall
    test eax, eax
    js plain
    mov edi, ebx                # execveat(tree, "", argv, envp, AT_EMPTY_PATH)
    lea rsi, [rip + empty]
    mov rdx, r13
    mov r10, r14
    mov r8d, 0x1000
    mov eax, 322
    syscall
plain:
    mov rdi, [r13]              # execve(argv[0], argv, envp)
    mov rsi, r13
    mov rdx, r14
    mov eax, 59
    syscall
    mov edi, 127                # exit_group
    mov eax, 231
    syscall
    .balign 8
attributes:
    .quad 1, 0, 0, 0
empty:
    .byte 0
end:
