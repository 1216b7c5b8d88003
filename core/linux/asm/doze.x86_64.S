# Wait in the place of an interpreter, then become it again: argv[0], as spawn.x86_64.S does it.
#
# Descriptor 3 is an epoll(7); what it tells of is still to be heard when argv[0] runs. Behind the end of the code are two
# texts: the process's name, and a file without which argv[0] could not run. While that is missing, or argv[0] cannot be
# executed, this goes on waiting and tries again every second: our end would be a container's.
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
    mov edi, 15                 # prctl(PR_SET_NAME, name)
    lea rsi, [rip + end]
    mov eax, 157
    syscall
    mov edi, 4                  # prctl(PR_SET_DUMPABLE, 0)
    xor esi, esi
    mov eax, 157
    syscall
    lea r12, [rip + end]
needed:
    mov al, [r12]
    inc r12
    test al, al
    jne needed
wait:
    mov edi, 3                  # epoll_pwait(3, &event, 1, -1, NULL)
    lea rsi, [rsp - 64]
    mov edx, 1
    mov r10, -1
    xor r8d, r8d
    mov eax, 281
    syscall
    cmp eax, -4                 # EINTR: it was stopped, and goes on
    je wait
    mov edi, -100               # faccessat(AT_FDCWD, needed, R_OK)
    mov rsi, r12
    mov edx, 4
    mov eax, 269
    syscall
    test eax, eax
    jne later
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
    js close
    mov edi, ebx                # execveat(tree, "", argv, envp, AT_EMPTY_PATH)
    lea rsi, [rip + empty]
    mov rdx, r13
    mov r10, r14
    mov r8d, 0x1000
    mov eax, 322
    syscall
close:
    mov edi, ebx                # close(tree)
    mov eax, 3
    syscall
plain:
    mov rdi, [r13]              # execve(argv[0], argv, envp)
    mov rsi, r13
    mov rdx, r14
    mov eax, 59
    syscall
later:
    lea rdi, [rip + second]     # nanosleep(second, NULL)
    xor esi, esi
    mov eax, 35
    syscall
    jmp wait
    .balign 8
attributes:
    .quad 1, 0, 0, 0
second:
    .quad 1, 0
empty:
    .byte 0
end:
