// Wait in the place of an interpreter, then become it again, see doze.x86_64.S
    .set machine, 183
    .set page, 0x10000
    .include "elf.inc"

start:
    ldr x0, [sp]
    add x19, sp, #8             // argv
    add x20, x19, x0, lsl #3
    add x20, x20, #8            // envp
    sub sp, sp, #64
    mov x0, #15                 // prctl(PR_SET_NAME, name)
    adr x1, end
    mov x8, #167
    svc #0
    mov x0, #4                  // prctl(PR_SET_DUMPABLE, 0)
    mov x1, #0
    mov x8, #167
    svc #0
    adr x22, end
needed:
    ldrb w0, [x22], #1
    cbnz w0, needed
wait:
    mov x0, #3                  // epoll_pwait(3, &event, 1, -1, NULL)
    mov x1, sp
    mov x2, #1
    mov x3, #-1
    mov x4, #0
    mov x8, #22
    svc #0
    cmn w0, #4                  // EINTR
    b.eq wait
    mov x0, #-100               // faccessat(AT_FDCWD, needed, R_OK)
    mov x1, x22
    mov x2, #4
    mov x8, #48
    svc #0
    cbnz w0, later
    .include "become.aarch64.inc"
later:
    adr x0, second              // nanosleep(second, NULL)
    mov x1, #0
    mov x8, #101
    svc #0
    b wait
    .balign 8
attributes:
    .quad 1, 0, 0, 0
second:
    .quad 1, 0
empty:
    .byte 0
end:
