# Wait in the place of an interpreter, then become it again: argv[0].
#
# Descriptor 3 is an epoll(7); what it tells of is still to be heard when argv[0] runs. Behind the end of the code are two
# texts: the process's name, and a file without which argv[0] could not run. While that is missing, or argv[0] cannot be
# executed, this goes on waiting and tries again every second: our end would be a container's.
    .intel_syntax noprefix
    .set machine, 62
    .set page, 0x1000
    .include "elf.inc"

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
    .include "become.x86_64.inc"
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
