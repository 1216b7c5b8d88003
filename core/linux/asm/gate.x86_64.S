# The end of a container's init without its interpreter: wait for `start`, install the filter, execute the command.
#
#     argv   file of the command, then its own argv
#     end    int go (-1: does not wait), int said, unsigned flags, unsigned length, length * struct sock_filter
#
# One byte from `go` lets it pass. What fails is told as a frame to `said`: X, 8, errno, 0 (the filter) or 1 (execve).
# From here on nothing of the host's is in this process: no interpreter, no library, no executable (CVE-2019-5736).
    .intel_syntax noprefix
    .set machine, 62
    .set page, 0x1000
    .include "elf.inc"

start:
    mov r14, rsp
    lea r12, [rip + end]
    mov r13d, [r12]             # go
    mov r15d, [r12 + 4]         # said
    mov edi, 4                  # prctl(PR_SET_DUMPABLE, 0): until execve nobody of this uid looks into it
    xor esi, esi
    mov eax, 157
    syscall
    test r13d, r13d
    js released
    mov edi, 15                 # prctl(PR_SET_NAME, name)
    lea rsi, [rip + name]
    mov eax, 157
    syscall
    lea rbx, [rip + fatal]
handler:
    movzx edi, byte ptr [rbx]   # rt_sigaction(signal, action, NULL, 8)
    inc rbx
    test edi, edi
    jz wait
    lea rsi, [rip + action]
    xor edx, edx
    mov r10d, 8
    mov eax, 13
    syscall
    jmp handler
wait:
    push 0
    mov edi, r13d               # read(go, &byte, 1)
    mov rsi, rsp
    mov edx, 1
    xor eax, eax
    syscall
    cmp eax, 1
    jne over                    # executed by the container itself, without our descriptors
    mov edi, r13d               # fcntl(go, F_SETFD, FD_CLOEXEC)
    mov esi, 2
    mov edx, 1
    mov eax, 72
    syscall
released:
    mov edi, r15d               # fcntl(said, F_SETFD, FD_CLOEXEC)
    mov esi, 2
    mov edx, 1
    mov eax, 72
    syscall
    test eax, eax
    jnz over
    xor ebp, ebp
    mov eax, [r12 + 12]
    test eax, eax
    jz execute
    lea rcx, [r12 + 16]         # struct sock_fprog
    push rcx
    push rax
    mov edi, 1                  # seccomp(SECCOMP_SET_MODE_FILTER, flags, fprog)
    mov esi, [r12 + 8]
    mov rdx, rsp
    mov eax, 317
    syscall
    test eax, eax
    jnz failed
execute:
    inc ebp
    mov rax, [r14]
    mov rdi, [r14 + 8]          # execve(argv[0], argv + 1, envp)
    lea rsi, [r14 + 16]
    lea rdx, [r14 + 8 * rax + 16]
    mov eax, 59
    syscall
failed:
    neg eax
    sub rsp, 32
    mov byte ptr [rsp + 3], 'X'
    mov dword ptr [rsp + 4], 0x08000000
    mov [rsp + 8], eax
    mov [rsp + 12], ebp
    mov edi, r15d               # write(said, frame, 13)
    lea rsi, [rsp + 3]
    mov edx, 13
    mov eax, 1
    syscall
over:
    mov edi, -127               # exit_group(1)
ended:
    add edi, 128                # killed by a signal: as a shell says it
    mov eax, 231
    syscall
    .balign 8
action:
    .quad base + ended - file, 0x4000000, base + ended - file, 0
fatal:
    .byte 1, 2, 3, 10, 12, 14, 15, 0 # HUP INT QUIT USR1 USR2 ALRM TERM: a PID 1 is spared what it has no handler for
name:
    .asciz "pyctr-init"
    .balign 8
end:
