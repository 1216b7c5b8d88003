# Become argv[0], which is nobody's to write to.
    .intel_syntax noprefix
    .set machine, 62
    .set page, 0x1000
    .include "elf.inc"

start:
    mov rax, [rsp]
    lea r13, [rsp + 8]          # argv
    lea r14, [r13 + 8 * rax + 8] # envp
    .include "become.x86_64.inc"
    mov edi, 127                # exit_group
    mov eax, 231
    syscall
    .balign 8
attributes:
    .quad 1, 0, 0, 0
empty:
    .byte 0
end:
