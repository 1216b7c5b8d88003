// PID 1 of a container with --init, see init.x86_64.S
    .set machine, 183
    .set page, 0x10000
    .include "elf.inc"

start:
    ldr x1, [sp, #16]
    mov w19, #0
    mov w3, #10
digit:
    ldrb w0, [x1], #1
    subs w0, w0, #'0'
    b.mi named
    madd w19, w19, w3, w0
    b digit
named:
    mov x0, #15                 // prctl(PR_SET_NAME, name)
    adr x1, name
    mov x8, #167
    svc #0
    mov x0, #0                  // write(0, name, 1): nothing is left of whoever executed us
    adr x1, name
    mov x2, #1
    mov x8, #64
    svc #0
    mov x0, #0                  // close(0)
    mov x8, #57
    svc #0
    mov x9, #-1
    stp x9, x9, [sp, #-16]!     // all signals, room for a status
next:
    mov x0, sp                  // rt_sigtimedwait(all, NULL, NULL, 8)
    mov x1, #0
    mov x2, #0
    mov x3, #8
    mov x8, #137
    svc #0
    cmp w0, #0
    b.le next
    cmp w0, #17                 // SIGCHLD
    b.eq reap
    mov w1, w0                  // kill(PID, signal)
    mov w0, w19
    mov x8, #129
    svc #0
    b next
reap:
    mov x0, #-1                 // wait4(-1, &status, WNOHANG, NULL)
    add x1, sp, #8
    mov x2, #1
    mov x3, #0
    mov x8, #260
    svc #0
    cmp w0, #0
    b.le next
    cmp w0, w19
    b.ne reap
    ldr w1, [sp, #8]
    ands w0, w1, #0x7f
    b.eq exited
    add w0, w0, #128
    b out
exited:
    ubfx w0, w1, #8, #8
out:
    mov x8, #94                 // exit_group
    svc #0
name:
    .asciz "pyctr-init"
end:
