# PID 1 of a container with --init: forwards signals to one child, reaps everything, ends with that child's code.
#
#     init PID        started with every signal blocked (rt_sigtimedwait(2) takes them), PID a child of ours that
#                     waits for a byte on a pipe, whose other end is our only descriptor, 0
#
# It is a whole ELF file and nothing else: no interpreter, no library, no memory of whoever made it (CVE-2019-5736).
    .intel_syntax noprefix
    .set machine, 62
    .set page, 0x1000
    .include "elf.inc"

start:
    mov rsi, [rsp + 16]
    xor ebx, ebx
digit:
    movzx eax, byte ptr [rsi]
    inc rsi
    sub eax, '0'
    js named
    imul ebx, ebx, 10
    add ebx, eax
    jmp digit
named:
    mov edi, 15                 # prctl(PR_SET_NAME, name)
    lea rsi, [rip + name]
    mov eax, 157
    syscall
    xor edi, edi                # write(0, name, 1): nothing is left of whoever executed us
    lea rsi, [rip + name]
    mov edx, 1
    mov eax, 1
    syscall
    xor edi, edi                # close(0)
    mov eax, 3
    syscall
    push -1                     # room for a status
    push -1                     # all signals
next:
    mov rdi, rsp                # rt_sigtimedwait(all, NULL, NULL, 8)
    xor esi, esi
    xor edx, edx
    mov r10d, 8
    mov eax, 128
    syscall
    test eax, eax
    jle next
    cmp eax, 17                 # SIGCHLD
    je reap
    mov edi, ebx                # kill(PID, signal)
    mov esi, eax
    mov eax, 62
    syscall
    jmp next
reap:
    mov rdi, -1                 # wait4(-1, &status, WNOHANG, NULL)
    lea rsi, [rsp + 8]
    mov edx, 1
    xor r10d, r10d
    mov eax, 61
    syscall
    test eax, eax
    jle next
    cmp eax, ebx
    jne reap
    mov eax, [rsp + 8]
    mov edi, eax
    and edi, 0x7f
    jz exited
    add edi, 128                # as a shell says it: a PID 1 cannot die of a signal of its own
    jmp out
exited:
    movzx edi, ah
out:
    mov eax, 231                # exit_group
    syscall
name:
    .asciz "pyctr-init"
end:
